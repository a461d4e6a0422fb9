"""What a job is: a video that is analysed as a whole, later, and asked for by its id; its limits and its answer."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from deepfake_detector.inference.verdict import VideoVerdict
from deepfake_detector.media.limits import DEFAULT_VIDEO_LIMITS
from deepfake_detector.serving.messages import LONG_VIDEO_S, ErrorDetail, Job
from deepfake_detector.serving.options import PREFIX, ServingOptions
from deepfake_detector.serving.upload import MIB

JOB_UPLOAD_TIMEOUT_S = 180.0  # its end and RESPONSE_TIMEOUT_S for storing it lie within BentoML's timeout
MAX_ATTEMPTS = 3  # of workers that end during a job
OFF_HINT = f"set {PREFIX}REDIS and start `deepfake jobs`, or send up to 200 MiB to POST /predict_video"
_ID = re.compile(r"[A-Za-z0-9_-]{22}")

JobState = Literal["queued", "running", "finished", "failed"]


class VideoJob(BaseModel):
    """The state of a job, and its result once it has ended. Whoever knows the id may read and delete it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    status: JobState
    progress: Annotated[float, Field(ge=0, le=1, description="share of the frames that have been analysed")]
    ahead: Annotated[int | None, Field(description="jobs before it in the queue; null unless it is queued")] = None
    created_at: Annotated[str, Field(description="ISO 8601, UTC")]
    expires_at: Annotated[str, Field(description="when it is deleted; later once it has ended")]
    result: Annotated[VideoVerdict | None, Field(description="of a finished job")] = None
    error: Annotated[ErrorDetail | None, Field(description="of a failed job")] = None


class JobLimits(BaseModel):
    """What the service accepts as a job, and how long it keeps it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_bytes: int
    max_duration_s: float  # of a longer video only this much from its start is analysed
    queue: int  # jobs that wait or are analysed
    per_client: int  # of them, those of one network address
    at_once_bytes: int  # videos up to this size
    at_once_s: float  # and this duration are analysed as a whole by POST /predict_video, too
    kept_hours: float  # an unfinished job with its video; a result, counted from the end of its job. Videos go with it


def job_limits(options: ServingOptions) -> JobLimits | None:
    """Return the limits that the settings give; None: the service has no jobs."""
    if options.redis is None:
        return None
    return JobLimits(
        max_bytes=options.job_upload_mib * MIB,
        max_duration_s=LONG_VIDEO_S,
        queue=options.job_queue,
        per_client=options.own_jobs,
        at_once_bytes=DEFAULT_VIDEO_LIMITS.max_bytes,
        at_once_s=DEFAULT_VIDEO_LIMITS.max_duration_s,
        kept_hours=options.job_hours,
    )


def long_video_job(options: ServingOptions, parameters: Mapping[str, Any]) -> Job:
    """Return what a worker is to do with the video of a job that has these parameters of a prediction."""
    return Job(kind="video", long=True, max_bytes=options.job_upload_mib * MIB, **parameters)


def new_job_id() -> str:
    """Return an id that nobody can guess."""
    return secrets.token_urlsafe(16)


def is_job_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return _ID.fullmatch(text) is not None
