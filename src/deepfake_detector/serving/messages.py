"""HTTP process -> worker: a Job and an open file; worker -> HTTP process: a JobReport and the answer, JSON bytes.

An empty message asks whether the worker is alive; it answers with an empty one. While it analyses a long video it sends
`Progress` messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MediaKind = Literal["image", "video"]
LONG_VIDEO_S = 4 * 3600.0  # of a longer video only this much from its start is analysed
MAX_UNFINISHED = 0.99  # progress of a long video before its answer is there


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Job(_Message):
    """How to analyse the file whose descriptor follows on the same connection."""

    kind: MediaKind
    explain: bool = False
    prior: float | None = Field(None, gt=0, lt=1)
    location: bool = False
    long: bool = False  # a video that is analysed as a whole, see `long_video`; progress messages precede the report
    max_bytes: int = 0  # of a long video


class Progress(_Message):
    """How much of a long video has been analysed, 0 to 1."""

    progress: float = Field(ge=0, le=1)


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


class ErrorDetail(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: Annotated[str, Field(description="for programs")]
    message: Annotated[str, Field(description="what went wrong, with the value")]
    hint: Annotated[str, Field(description="what to do next; may be empty")]


class Error(BaseModel):
    """The answer to a request, or for one file of a batch, that failed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error: ErrorDetail


class SandboxState(_Message):
    """Which parts of its sandbox a worker's kernel enforces: "enforced", or "not enforced: " and why."""

    files: str  # only code, libraries, the model and uploads can be opened, and only for reading
    system_calls: str  # no new processes, no network, no files opened for writing
    privileges: str  # no capabilities, none to be gained
    memory: str  # at most 1.5 GiB per file; that of the service cannot be read
    landlock_abi: int = 0

    @property
    def missing(self) -> list[str]:
        """Names of the parts that are not enforced."""
        return [name for name, state in self if isinstance(state, str) and state != "enforced"]


@dataclass(frozen=True)
class JobResult:
    """The answer for one file as JSON bytes, and its report."""

    report: JobReport
    body: bytes
