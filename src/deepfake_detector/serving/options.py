"""Environment variables DEEPFAKE_SERVE_* -> settings of the service; an unknown variable stops it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from deepfake_detector.errors import SettingsError
from deepfake_detector.parallel import available_cores

PREFIX = "DEEPFAKE_SERVE_"
MIN_TOKEN_LENGTH = 16
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
        root_path: prefix of all paths behind a reverse proxy, for example /deepfake; "": none, or the proxy removes it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: SecretStr | None = Field(None, min_length=MIN_TOKEN_LENGTH)
    workers: int = Field(default_factory=available_cores, ge=1, le=256)
    spares: int = Field(1, ge=0, le=16)
    queue: int = Field(64, ge=16, le=10_000)
    connections: int = Field(256, ge=4, le=10_000)
    client_connections: int | None = Field(None, ge=1, le=10_000)
    hosts: Hosts = ()
    prediction_log: Path | None = None
    root_path: str = Field("", pattern=r"^(/[A-Za-z0-9._~-]+)*$")


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
