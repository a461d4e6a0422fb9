"""Two ways of doing the same work -> how many times faster one is, by the median of alternating runs."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One comparison. `ratio` above 1 means that ours is faster; `spread` are the smallest and largest of the runs."""

    name: str
    ours: str
    other: str
    unit: str
    ours_per_s: float
    other_per_s: float
    ratio: float
    spread: tuple[float, float]


def compare(
    name: str, ours: tuple[str, Callable[[], int]], other: tuple[str, Callable[[], int]], unit: str, runs: int = 5
) -> Row:
    """Time two ways in turn, A B A B, so that a machine that drifts does so for both.

    Args:
        name: of the row.
        ours: a name and a function that does the work once and returns how many units it did.
        other: the same for the other way.
        unit: what is counted.
        runs: counted pairs, after one that is not.
    """
    rates: list[tuple[float, float]] = []
    for _ in range(runs + 1):
        rates.append((_rate(ours[1]), _rate(other[1])))
    ratios = [a / b for a, b in rates[1:]]
    return Row(
        name, ours[0], other[0], unit,
        statistics.median(a for a, _ in rates[1:]), statistics.median(b for _, b in rates[1:]),
        statistics.median(ratios), (min(ratios), max(ratios)),
    )  # fmt: skip


def machine() -> str:
    """What the figures were measured on."""
    return f"{platform.machine()}, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def _rate(work: Callable[[], int]) -> float:
    started_s = time.perf_counter()
    units = work()
    return units / (time.perf_counter() - started_s)
