"""Several ways of doing the same work -> one row per other way: how many times faster ours is, by alternating runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

MIB = "MiB"  # the unit of rows that compare memory; of all others the figures are units per second


@dataclass(frozen=True)
class Variant:
    """One way of doing the work.

    Attributes:
        name: of the way.
        work: does it once and returns how many units it did.
        prepare: what must be there each time, and is not timed.
    """

    name: str
    work: Callable[[], float]
    prepare: Callable[[], object] | None = None


@dataclass(frozen=True)
class Comparison:
    """One comparison.

    Attributes:
        name: what is done.
        unit: what is counted, in the singular: "picture". For memory `MIB`.
        ours_figure, other_figure: medians, in units per second, or MiB.
        ratio: median over the rounds of ours / other: above 1, ours is faster, or takes more memory.
        spread: smallest and largest of the rounds.
        goal: what the ratio is wanted to reach, or of memory not to pass; None where no figure was named.
    """

    name: str
    ours: str
    other: str
    unit: str
    ours_figure: float
    other_figure: float
    ratio: float
    spread: tuple[float, float]
    goal: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        return self.ratio <= self.goal if self.unit == MIB else self.ratio >= self.goal

    def as_json(self) -> dict[str, Any]:
        """What a report keeps."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Comparison:
        """The row that a report kept."""
        low, high = kept["spread"]
        return cls(**{**kept, "spread": (float(low), float(high))})


def compare(
    name: str,
    ours: Variant,
    others: Sequence[Variant],
    unit: str,
    rounds: int,
    goals: Sequence[float | None] = (),
) -> list[Comparison]:
    """Time all ways in turn, A B C A B C, so that a machine that drifts does so for all of them.

    Args:
        name: of the rows.
        ours: the way to be judged.
        others: the ways it is compared with, each in its own row.
        unit: see `Row`.
        rounds: counted ones, after one that is not.
        goals: of the others, in their order; none by default.
    """
    ways = (ours, *others)
    rates = [[_timed(way) for way in ways] for _ in range(rounds + 1)][1:]
    wanted = [*goals, *[None] * (len(others) - len(goals))]
    return [
        row(name, (ours.name, other.name), unit, [(found[0], found[i]) for found in rates], goal)
        for i, (other, goal) in enumerate(zip(others, wanted, strict=True), 1)
    ]


def row(
    name: str, ways: tuple[str, str], unit: str, figures: Sequence[tuple[float, float]], goal: float | None = None
) -> Comparison:
    """Sum up the figures of rounds, each of ours and of the other way."""
    ratios = [ours / other for ours, other in figures]
    medians = [statistics.median(column) for column in zip(*figures, strict=True)]
    return Comparison(
        name, *ways, unit, medians[0], medians[1], statistics.median(ratios), (min(ratios), max(ratios)), goal
    )


def rate(work: Callable[[], float]) -> float:
    """Units per second of one run."""
    started_s = time.perf_counter()
    units = work()
    return units / (time.perf_counter() - started_s)


def _timed(way: Variant) -> float:
    if way.prepare is not None:
        way.prepare()
    return rate(way.work)
