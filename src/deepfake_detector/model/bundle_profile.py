"""profile.json <-> what a model measured on labelled pictures, per source and kind; every number has bounds.

Drift is a difference between a prediction log and this profile, so its quantities are those of the log's lines, in the
same units and measured by the same code.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deepfake_detector.model.bundle_contract import Count, Name

Quantity = Literal["p_fake", "largest_face_px", "brightness", "contrast", "sharpness"]
Verdict = Literal["fake", "real", "inconclusive"]

# Smallest and largest value of each: a probability, px, grey 0..255, its deviation, variance of a Laplacian.
BOUNDS: dict[Quantity, tuple[float, float]] = {
    "p_fake": (0.0, 1.0),
    "largest_face_px": (0.0, 100_000.0),
    "brightness": (0.0, 255.0),
    "contrast": (0.0, 127.5),
    "sharpness": (0.0, 1_100_000.0),
}
QUANTITIES: tuple[Quantity, ...] = tuple(BOUNDS)
VERDICTS: tuple[Verdict, ...] = ("fake", "real", "inconclusive")
LEVELS = 101  # quantiles at 0, 1, ..., 100 %: a distribution function that is read from them is off by at most 1 %
FACE_COUNTS = 5  # pictures with 0, 1, 2, 3 faces, and with 4 or more
MAX_GROUPS, MAX_BYTES = 300, 2 * 2**20  # 300 groups of five quantities with 101 numbers each take 1.2 MB
_DIGITS = 6  # of a stored quantile


class _FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Distribution(_FrozenModel):
    """Quantiles of one quantity at 0, 1, ..., 100 %; none of no values."""

    values: Count  # how many pictures had one
    quantiles: Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], Field(max_length=LEVELS)]

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if len(self.quantiles) != (LEVELS if self.values else 0):
            raise ValueError(f"{self.values} values have {len(self.quantiles)} quantiles, not {LEVELS}")
        if any(low > high for low, high in zip(self.quantiles, self.quantiles[1:], strict=False)):
            raise ValueError("quantiles must rise")
        return self

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Distribution:
        """The distribution of values (n,); NaN, where a picture has none, does not count."""
        known = values[~np.isnan(values)]
        if not len(known):
            return cls(values=0, quantiles=())
        quantiles = np.quantile(known, np.linspace(0, 1, LEVELS))
        return cls(values=len(known), quantiles=tuple(float(f"{value:.{_DIGITS}g}") for value in quantiles))

    def sample(self) -> NDArray[np.float64]:
        """(values,) numbers with these quantiles, evenly spaced in probability, rising."""
        if not self.values:
            return np.zeros(0)
        levels = (np.arange(self.values) + 0.5) / self.values
        return np.interp(levels, np.linspace(0, 1, LEVELS), self.quantiles)


class GroupProfile(_FrozenModel):
    """Pictures of one source and one kind."""

    source: Name
    kind: Name  # of fake; "" for real pictures
    pictures: Annotated[int, Field(ge=1, le=10**9)]
    unscored: Count  # pictures without a face that could be scored
    verdicts: dict[Verdict, Count]
    faces: Annotated[tuple[Count, ...], Field(min_length=FACE_COUNTS, max_length=FACE_COUNTS)]
    quantities: dict[Quantity, Distribution]

    @property
    def is_fake(self) -> bool:
        """Whether its pictures are fakes."""
        return bool(self.kind)

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        for name, count in (("verdicts", sum(self.verdicts.values())), ("faces", sum(self.faces))):
            if count != self.pictures:
                raise ValueError(f"{name} count {count} pictures of {self.pictures}")
        if set(self.quantities) != set(QUANTITIES):
            raise ValueError(f"quantities must be {', '.join(QUANTITIES)}")
        if self.quantities["p_fake"].values != self.pictures - self.unscored:
            raise ValueError("every picture has a score or is unscored")
        for name, each in self.quantities.items():
            low, high = BOUNDS[name]
            if each.values > self.pictures or (
                each.quantiles and not low <= each.quantiles[0] <= each.quantiles[-1] <= high
            ):
                raise ValueError(f"{name} must lie between {low:g} and {high:g}, of at most {self.pictures} pictures")
        return self


class Profile(_FrozenModel):
    """Labelled pictures that were not trained on, as the sealed model sees them, undegraded."""

    split: Literal["test"] = "test"
    groups: Annotated[tuple[GroupProfile, ...], Field(min_length=1, max_length=MAX_GROUPS)]

    @model_validator(mode="after")
    def _groups_differ(self) -> Self:
        names = {(group.source, group.kind) for group in self.groups}
        if len(names) != len(self.groups):
            raise ValueError("two groups have the same source and kind")
        return self

    @property
    def pictures(self) -> int:
        """Number of all pictures."""
        return sum(group.pictures for group in self.groups)
