"""Counts, scores and draws -> a figure with the interval that holds it with 95 % confidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import binomtest

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]  # 1 = fake, the positive class
TAILS = (0.025, 0.975)
_Z = 1.959964


@dataclass(frozen=True)
class Estimate:
    """A figure and the interval that holds it with 95 % confidence."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def share(hits: int, out_of: int) -> Estimate:
    """A share of pictures with its Wilson interval; of no pictures at all nothing is known: 0, from 0 to 1."""
    if out_of == 0:
        return Estimate(0.0, 0.0, 1.0)
    interval = binomtest(hits, out_of).proportion_ci(method="wilson")
    return Estimate(hits / out_of, float(interval.low), float(interval.high))


def share_of(yes: NDArray[np.bool_]) -> Estimate | None:
    """The share of true ones with its Wilson interval; None if there are none to ask."""
    return share(int(yes.sum()), len(yes)) if len(yes) else None


def auc(p_fake: Floats, labels: Labels) -> Estimate | None:
    """Area under the ROC curve; None where one class is missing.

    The interval is DeLong's (1988) on the logit scale, which keeps it inside 0 to 1. A perfect order has no variance;
    then the lower end is what a share of n out of n, n the smaller class, could still be.

    Args:
        p_fake: (n,) any scores; equal ones count half.
        labels: (n,).
    """
    fakes, reals = p_fake[labels == 1], p_fake[labels == 0]
    if not len(fakes) or not len(reals):
        return None
    below = _share_below(fakes, reals)
    above = 1 - _share_below(reals, fakes)
    value = float(below.mean())
    variance = _variance_of_mean(below) + _variance_of_mean(above)
    if value in (0.0, 1.0) or variance == 0:
        edge = share(n := min(len(fakes), len(reals)), n).low
        return Estimate(value, min(value, edge), max(value, 1 - edge))
    spread = _Z * float(np.sqrt(variance)) / (value * (1 - value))
    return Estimate(value, float(expit(logit(value) - spread)), float(expit(logit(value) + spread)))


def mean(values: Floats) -> Estimate:
    """The mean of independent values (n,), its interval from their spread."""
    spread = _Z * float(np.sqrt(_variance_of_mean(values)))
    value = float(values.mean())
    return Estimate(value, value - spread, value + spread)


def draw(labels: Labels, resamples: int, seed: int) -> list[NDArray[np.int64]]:
    """Bootstrap draws of row numbers (n,), stratified by class so that no draw lacks one."""
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    return [np.concatenate([rng.choice(c, len(c)) for c in classes]) for _ in range(resamples)]


def between(draws: Floats, value: float) -> Estimate:
    """The percentile interval of what the draws (k,) gave."""
    low, high = np.quantile(draws, TAILS)
    return Estimate(value, float(low), float(high))


def _variance_of_mean(values: Floats) -> float:
    return float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else 0.0


def _share_below(values: Floats, others: Floats) -> Floats:
    """For each value the share of `others` that lie below it, equal ones counted half."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * len(others))
