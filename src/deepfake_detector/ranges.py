"""params.yaml's `tune` -> typed ranges in which better values of `train` are looked for."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass


def _low_first(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"{ends[0]} to {ends[1]} is no range: the lower end comes first")
    return ends


Positive = Annotated[float, Field(gt=0)]
Part = Annotated[float, Field(ge=0, lt=1)]
Upwards = AfterValidator(_low_first)


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Tune:
    """Lowest and highest value, or choices; the bounds are those of `settings.Train`."""

    learning_rate: Annotated[tuple[Positive, Positive], Upwards]
    weight_decay: Annotated[tuple[Positive, Positive], Upwards]
    dropout: Annotated[tuple[Part, Part], Upwards]
    blend: Annotated[tuple[Part, Annotated[float, Field(ge=0, le=0.9)]], Upwards]
    ema_momentum: Annotated[tuple[Part, ...], Field(min_length=1)]  # choices
    batch_size: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]  # choices
    warmup_epochs: Annotated[tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]], Upwards]
    startup_trials: Annotated[int, Field(ge=1)]
    grace_epochs: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]
