"""Environment variables DEEPFAKE_SERVE_* -> settings of the service; an unknown variable stops it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from deepfake_detector.errors import SettingsError
from deepfake_detector.parallel import available_cores
from deepfake_detector.serving.api_keys import MIN_KEY_LENGTH, NamedKeys

PREFIX = "DEEPFAKE_SERVE_"
RENAMED = {"LINE": "QUEUE"}  # without the prefix: old name -> new name


LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
ANY_HOST = "*"


def _listed(value: object) -> object:
    return tuple(part.strip().lower() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


# A name, an address, an IPv6 address in brackets, or a name that begins with "*." for all below it; no port.
Host = Annotated[str, Field(pattern=r"^(\*|(\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\])$", max_length=255)]
Hosts = Annotated[tuple[Host, ...], BeforeValidator(_listed)]


class ServingOptions(BaseModel):
    """Settings of the service. Field `x` is read from the variable DEEPFAKE_SERVE_X.

    Attributes:
        token: clients must send it to get a prediction or /metrics; None: no authentication.
        workers: worker processes that decode and score; one per core is fastest.
        spares: further workers that have loaded the model and replace one that ends at once.
        queue: slots for requests that wait or are processed; an image takes 1, a video 4, a batch 16.
        connections: open at the same time; fewer where the limit on open files is low.
        client_connections: of them, those of one network address; None: half. Behind a proxy all have its address.
        hosts: names in the Host header, beside localhost, that are answered; "*": any.
        prediction_log: file that gets one line of scores and image quality per answer; None: no such log.
        prediction_log_days: after which its lines are deleted.
        redis: address of the Redis that holds jobs, redis://, rediss:// or unix://; None: the service has no jobs.
        job_upload_mib: size of the largest video that is accepted as a job.
        job_store_mib: of all videos and results in Redis.
        job_queue: jobs that wait or are analysed.
        client_jobs: of them, those of one network address; None: half. Behind a proxy all have its address.
        job_hours: after which an unfinished job is deleted with its video, and after its end its result.
        keys: name of a client -> its key, which counts as a token; so one client can be told from another.
        feedback: folder that gets what clients say about answers; None: the service takes no feedback.
        feedback_per_hour: reports that one client may send within an hour.
        feedback_days: after which a kept picture is deleted.
        feedback_mib: of the folder.
        feedback_logs: pattern of the prediction logs that are searched for a request; "": this service's own.
        root_path: prefix of all paths behind a reverse proxy, for example /deepfake; "": none, or the proxy removes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: SecretStr | None = Field(None, min_length=MIN_KEY_LENGTH)
    workers: int = Field(default_factory=available_cores, ge=1, le=256)
    spares: int = Field(1, ge=0, le=16)
    queue: int = Field(64, ge=16, le=10_000)
    connections: int = Field(256, ge=4, le=10_000)
    client_connections: int | None = Field(None, ge=1, le=10_000)
    hosts: Hosts = ()
    prediction_log: Path | None = None
    prediction_log_days: int = Field(90, ge=1, le=3650)
    redis: SecretStr | None = Field(None, min_length=1)
    job_upload_mib: int = Field(512, ge=1, le=4096)
    job_store_mib: int = Field(2048, ge=1, le=1_000_000)
    job_queue: int = Field(32, ge=1, le=1000)
    client_jobs: int | None = Field(None, ge=1, le=1000)
    job_hours: float = Field(24.0, gt=0, le=720)
    keys: NamedKeys = Field(default_factory=dict)
    feedback: Path | None = None
    feedback_per_hour: int = Field(60, ge=1, le=100_000)
    feedback_days: float = Field(30.0, gt=0, le=3650)
    feedback_mib: int = Field(1024, ge=1, le=1_000_000)
    feedback_logs: str = ""
    root_path: str = Field("", pattern=r"^(/[A-Za-z0-9._~-]+)*$")

    @field_validator("redis")
    @classmethod
    def _is_an_address(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("expected an address such as redis://:PASSWORD@HOST:6379/0")
        return value

    @field_validator("feedback")
    @classmethod
    def _has_reporters_and_a_log(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        """Without a key nobody could be held to a rate, without a log no request could be checked."""
        if value == Path():
            raise ValueError("it names no folder")
        if value is not None and not (info.data.get("token") or info.data.get("keys")):
            raise ValueError(f"feedback needs {PREFIX}KEYS or {PREFIX}TOKEN")
        if value is not None and info.data.get("prediction_log") is None:
            raise ValueError(f"feedback needs {PREFIX}PREDICTION_LOG, in which it looks for the request")
        return value

    @property
    def own_jobs(self) -> int:
        """Jobs of one network address that may wait or be analysed."""
        return self.client_jobs or max(1, self.job_queue // 2)


def read_options(environment: Mapping[str, str]) -> ServingOptions:
    """Read the variables that begin with DEEPFAKE_SERVE_.

    Raises:
        SettingsError: a variable is unknown (a misspelt token would leave the service open), renamed or invalid.
    """
    given = {name[len(PREFIX) :]: value for name, value in environment.items() if name.startswith(PREFIX)}
    for old, new in RENAMED.items():
        if old in given:
            raise SettingsError(f"environment variable {PREFIX}{old} was renamed", f"set {PREFIX}{new} instead")
    try:
        return ServingOptions.model_validate({name.lower(): value for name, value in given.items()})
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        known = ", ".join(f"{PREFIX}{name.upper()}" for name in ServingOptions.model_fields)
        name = f"{PREFIX}{'.'.join(map(str, first['loc'])).upper()}"
        raise SettingsError(f"environment variable {name}: {first['msg']}", f"known variables: {known}") from None
