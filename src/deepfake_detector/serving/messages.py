"""HTTP process -> worker: a Job and an open file; worker -> HTTP process: a JobReport and the answer, JSON bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MediaKind = Literal["image", "video"]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Job(_Message):
    """How to analyse the file whose descriptor follows on the same connection."""

    kind: MediaKind
    explain: bool = False
    prior: float | None = Field(None, gt=0, lt=1)


class ImageQuality(_Message):
    """Mean statistics of the largest face of each picture or frame, for drift checks; nobody can be recognised by them.

    Units are those of `media.image_stats.ImageStats`.
    """

    brightness: float
    contrast: float
    sharpness: float


class JobReport(_Message):
    """What metrics and logs record of one answer; the answer itself follows as bytes."""

    status: int  # HTTP
    error_code: str = ""
    verdict: str = ""
    p_fake: float | None = None
    faces: int = 0
    faces_p_fake: tuple[float, ...] = ()
    largest_face_px: float = 0.0  # its shorter side
    file_bytes: int = 0
    processing_s: float = 0.0
    steps_s: dict[str, float] = {}  # queue, decode, find, score; decode excludes what overlaps find and score
    quality: ImageQuality | None = None
    traceback: str = ""  # for the log, never for the client


@dataclass(frozen=True)
class JobResult:
    """The answer for one file as JSON bytes, and its report."""

    report: JobReport
    body: bytes
