"""What HTTP process and workers say to each other: a job and an open file one way, a report and an answer the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["image", "video"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Job(_Frozen):
    """What is to be done with the file that follows."""

    kind: Kind
    explain: bool = False
    prior: float | None = Field(None, gt=0, lt=1)


class Quality(_Frozen):
    """What a picture, or the faces of a video, look like: for drift checks, and too little to recognise anybody."""

    brightness: float  # see media/look.py
    contrast: float
    sharpness: float


class Report(_Frozen):
    """What is counted and logged of an answer; the answer itself follows as bytes."""

    status: int
    code: str = ""  # of the error, if it is one
    verdict: str = ""
    p_fake: float | None = None
    faces: int = 0
    faces_p_fake: tuple[float, ...] = ()
    face_px: float = 0.0  # shorter side of the largest face
    bytes: int = 0  # of the file
    worked_s: float = 0.0
    steps_s: dict[str, float] = {}  # decode is what was not hidden behind find and score
    quality: Quality | None = None
    failure: str = ""  # a traceback for the log, never for the client


@dataclass(frozen=True)
class Done:
    """An answer as it goes to the client, JSON, and what is to be kept of it."""

    report: Report
    body: bytes
