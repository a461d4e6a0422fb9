"""Environment variables DEEPFAKE_SERVE_* -> what the operator of the service decides; unknown ones stop it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from deepfake_detector.errors import SettingsError
from deepfake_detector.parallel import available_cores

PREFIX = "DEEPFAKE_SERVE_"
MIN_TOKEN = 16


class Options(BaseModel):
    """Each field is the variable DEEPFAKE_SERVE_ and its name in capitals.

    Attributes:
        token: whoever asks for a prediction or for /metrics must send it; without it, nobody is asked.
        workers: child processes that decode and score; one per core is fastest.
        line: places for requests, worked on or waiting; a video takes four, a batch sixteen.
        prediction_log: a file that gets a line of scores and picture quality per answer; without it, none is kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: SecretStr | None = Field(None, min_length=MIN_TOKEN)
    workers: int = Field(default_factory=available_cores, ge=1, le=256)
    line: int = Field(64, ge=16, le=10_000)
    prediction_log: Path | None = None


def read_options(environment: Mapping[str, str]) -> Options:
    """Read the variables that begin with DEEPFAKE_SERVE_.

    Raises:
        SettingsError: one is unknown (a misspelt token would leave the service open) or has no sensible value.
    """
    given = {name[len(PREFIX) :].lower(): value for name, value in environment.items() if name.startswith(PREFIX)}
    try:
        return Options.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        known = ", ".join(f"{PREFIX}{name.upper()}" for name in Options.model_fields)
        name = f"{PREFIX}{'.'.join(map(str, first['loc'])).upper()}"
        raise SettingsError(f"environment variable {name}: {first['msg']}", f"known are {known}") from None
