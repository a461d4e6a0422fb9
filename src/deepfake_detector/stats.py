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


Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Auc:
    """Area under the ROC curve: 0.5 is guessing, 1 is certainty; `low` to `high` holds it with 95 % confidence."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def cross_validated_auc(scores: Floats, labels: Integers, folds: Integers, groups: Integers) -> Auc:
    """Mean AUC of the folds, with DeLong's interval for grouped pictures.

    Scores are compared within their fold only: those of another fold come from another model. Each picture's share
    in the AUC (DeLong et al. 1988; for cross-validation LeDell et al. 2015) is summed over its group before it is
    squared (Obuchowski 1997), so that ten frames of one video do not count as ten witnesses.

    Args:
        scores: (n,) higher for fake, each by a model that has not seen the picture's group.
        labels: (n,) 1 = fake, 0 = real; every fold holds both.
        folds: (n,) in which fold a picture was scored.
        groups: (n,) pictures that belong together; a group lies in one fold.
    """
    share, influence = 0.0, np.zeros(len(scores))
    for fold in np.unique(folds):
        inside = np.flatnonzero(folds == fold)
        weight = len(inside) / len(scores)
        fold_auc, fold_influence = _delong(scores[inside], labels[inside])
        share += weight * fold_auc
        influence[inside] = weight * fold_influence
    _, members = np.unique(groups, return_inverse=True)
    sums = np.bincount(members, weights=influence)
    spread = _Z * float(np.sqrt(np.square(sums).sum() * len(sums) / max(1, len(sums) - 1)))
    return Auc(share, max(0.0, share - spread), min(1.0, share + spread))


def _delong(scores: Floats, labels: Integers) -> tuple[float, Floats]:
    """AUC of one fold, and how far each of its pictures pulls it from there, (n,)."""
    fakes, reals = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    below = _share_below(scores[fakes], scores[reals])
    above = 1 - _share_below(scores[reals], scores[fakes])
    auc = float(below.mean())
    influence = np.zeros(len(scores))
    influence[fakes] = (below - auc) / len(fakes)
    influence[reals] = (above - auc) / len(reals)
    return auc, influence


AUC_DRAWS, SHARE_DRAWS = 1000, 10_000
SEED = 20261122


@dataclass(frozen=True)
class Difference:
    """Candidate minus champion, with the interval of a paired bootstrap.

    Drawing the same pictures for both models takes out what the pictures themselves contribute (Efron 1979; for ROC
    areas Hanley and McNeil 1983 show how large that shared part is).
    """

    value: float
    low: float
    high: float
    confidence: float = 0.95

    def __str__(self) -> str:
        return f"{self.value:+.4f}, {100 * self.confidence:g} % interval {self.low:+.4f} to {self.high:+.4f}"


def auc_difference(labels: NDArray[np.int64], ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Difference:
    """Difference of two areas under the ROC curve; pictures are drawn class by class, so no draw lacks one.

    Args:
        labels: (n,), 1 = fake; both classes must occur.
        ours: (n,), the candidate's scores.
        theirs: (n,), the champion's.
    """
    random = np.random.default_rng(SEED)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    ranks = _ranks(ours), _ranks(theirs)  # sorted once: 1000 sorts of 20,000 scores would take seconds
    differences = np.empty(AUC_DRAWS)
    for i in range(AUC_DRAWS):
        drawn = np.concatenate([random.choice(members, len(members)) for members in classes])
        counts = np.bincount(drawn, minlength=len(labels)).astype(np.float64)
        differences[i] = _area(labels, ranks[0], counts) - _area(labels, ranks[1], counts)
    low, high = np.quantile(differences, (0.025, 0.975))
    return Difference(area_under_roc(labels, ours) - area_under_roc(labels, theirs), float(low), float(high))


def share_difference(ours: NDArray[np.bool_], theirs: NDArray[np.bool_], confidence: float = 0.95) -> Difference:
    """Difference of two shares of right answers.

    A picture counts +1, 0 or -1, so drawing n pictures is drawing three counts: the same bootstrap, a thousand times
    cheaper.

    Args:
        ours: (n,), whether the candidate is right; n > 0.
        theirs: (n,), whether the champion is.
        confidence: of the interval.
    """
    n = len(ours)
    won, lost = int(np.sum(ours & ~theirs)), int(np.sum(theirs & ~ours))
    shares = np.array([won, lost, n - won - lost]) / n
    draws = np.random.default_rng(SEED).multinomial(n, shares, SHARE_DRAWS)
    tail = (1 - confidence) / 2
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / n, (tail, 1 - tail))
    return Difference((won - lost) / n, float(low), float(high), confidence)


def area_under_roc(labels: NDArray[np.int64], p_fake: NDArray[np.float64]) -> float:
    """Area under the ROC curve: the share of (fake, real) pairs in the right order, ties counting half.

    Args:
        labels: (n,), 1 = fake; both classes must occur.
        p_fake: (n,), any increasing score.
    """
    return _area(labels, _ranks(p_fake), np.ones(len(labels)))


def _ranks(p_fake: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,), 0 for the lowest score; equal scores share a rank."""
    return np.unique(p_fake, return_inverse=True)[1].astype(np.int64)


def _area(labels: NDArray[np.int64], ranks: NDArray[np.int64], counts: NDArray[np.float64]) -> float:
    fakes = np.bincount(ranks, weights=counts * labels)
    reals = np.bincount(ranks, weights=counts * (1 - labels))
    reals_below = np.cumsum(reals) - reals
    return float(np.sum(fakes * (reals_below + reals / 2)) / (fakes.sum() * reals.sum()))
