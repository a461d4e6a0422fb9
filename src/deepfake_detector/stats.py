"""Scores, labels and counts (n,) -> AUC, shares and means with 95 % confidence intervals.

SciPy is imported inside the functions: its import takes a second, and every `dvc repro` imports the gate only to find
that there is nothing to register.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Labels = NDArray[np.int64]  # 1 = fake, the positive class
QUANTILES = (0.025, 0.975)
AUC_RESAMPLES, MEAN_AUC_RESAMPLES, PROPORTION_RESAMPLES = 1000, 300, 10_000
SEED = 20261122
_Z = 1.959964


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval, of 95 % unless a subclass says otherwise."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Difference(Estimate):
    """Candidate minus champion, with the interval of a paired bootstrap.

    Both models get the same resampled pictures, which cancels what the pictures themselves contribute (Efron 1979; for
    ROC areas Hanley and McNeil 1983).
    """

    confidence: float = 0.95

    def __str__(self) -> str:
        return f"{self.value:+.4f}, {100 * self.confidence:g} % interval {self.low:+.4f} to {self.high:+.4f}"


def estimate_proportion(hits: int, trials: int) -> Estimate:
    """A proportion with its Wilson interval; with no trials it is 0, from 0 to 1."""
    from scipy.stats import binomtest

    if trials == 0:
        return Estimate(0.0, 0.0, 1.0)
    interval = binomtest(hits, trials).proportion_ci(method="wilson")
    return Estimate(hits / trials, float(interval.low), float(interval.high))


def estimate_proportion_of(mask: NDArray[np.bool_]) -> Estimate | None:
    """The proportion of true values in `mask` (n,) with its Wilson interval; None if n is 0."""
    return estimate_proportion(int(mask.sum()), len(mask)) if len(mask) else None


def estimate_mean(values: Floats) -> Estimate:
    """The mean of independent values (n,), with its normal interval."""
    margin = _Z * float(np.sqrt(_variance_of_mean(values)))
    value = float(values.mean())
    return Estimate(value, value - margin, value + margin)


def auc(scores: Floats, labels: Labels) -> float:
    """Area under the ROC curve: the share of (fake, real) pairs in the right order; ties count half.

    Equal to scikit-learn's `roc_auc_score`, but with a single rounding, so that equal areas compare as equal.

    Args:
        scores: (n,), higher for fakes.
        labels: (n,); both classes must occur.
    """
    return _weighted_auc(_dense_ranks(scores), labels, np.ones(len(labels)))


def estimate_auc(scores: Floats, labels: Labels) -> Estimate | None:
    """AUC with its interval; None where one class is missing.

    The interval is DeLong's (1988) on the logit scale, which keeps it inside 0 to 1. A perfect order has no variance;
    its lower end is then that of a proportion of n out of n, with n the size of the smaller class.

    Args:
        scores: (n,), higher for fakes.
        labels: (n,).
    """
    from scipy.special import expit, logit

    fakes, reals = int((labels == 1).sum()), int((labels == 0).sum())
    if not fakes or not reals:
        return None
    reals_below, fakes_above = _delong_components(scores, labels)
    value = float(reals_below.mean())
    variance = _variance_of_mean(reals_below) + _variance_of_mean(fakes_above)
    if value in (0.0, 1.0) or variance == 0:
        edge = estimate_proportion(n := min(fakes, reals), n).low
        return Estimate(value, min(value, edge), max(value, 1 - edge))
    margin = _Z * float(np.sqrt(variance)) / (value * (1 - value))
    return Estimate(value, float(expit(logit(value) - margin)), float(expit(logit(value) + margin)))


def cross_validated_auc(scores: Floats, labels: Labels, folds: Integers, groups: Integers) -> Estimate:
    """Mean AUC of the folds, with DeLong's interval for grouped pictures.

    Scores are compared within their fold only, because each fold has a model of its own. The influence of each picture
    on the AUC (DeLong et al. 1988; for cross-validation LeDell et al. 2015) is summed over its group before it is
    squared (Obuchowski 1997), so that ten frames of one video count as one independent observation.

    Args:
        scores: (n,) higher for fakes, each by a model that has not seen the picture's group.
        labels: (n,); every fold holds both classes.
        folds: (n,), the fold in which a picture was scored.
        groups: (n,), pictures that belong together; a group lies in one fold.
    """
    value, influence = 0.0, np.zeros(len(scores))
    for fold in np.unique(folds):
        members = np.flatnonzero(folds == fold)
        weight = len(members) / len(scores)
        fold_auc, fold_influence = _auc_influence(scores[members], labels[members])
        value += weight * fold_auc
        influence[members] = weight * fold_influence
    _, group_index = np.unique(groups, return_inverse=True)
    sums = np.bincount(group_index, weights=influence)
    margin = _Z * float(np.sqrt(np.square(sums).sum() * len(sums) / max(1, len(sums) - 1)))
    return Estimate(value, max(0.0, value - margin), min(1.0, value + margin))


def auc_difference(ours: Floats, theirs: Floats, labels: Labels) -> Difference:
    """Difference of two AUCs on the same pictures; the paired bootstrap is stratified by class.

    Args:
        ours: (n,), the candidate's scores.
        theirs: (n,), the champion's.
        labels: (n,); both classes must occur.
    """
    rng = np.random.default_rng(SEED)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    ranks = _dense_ranks(ours), _dense_ranks(theirs)  # sorted once: 1000 sorts of 20,000 scores would take seconds
    differences = np.empty(AUC_RESAMPLES)
    for i in range(AUC_RESAMPLES):
        rows = np.concatenate([rng.choice(members, len(members)) for members in classes])
        counts = np.bincount(rows, minlength=len(labels)).astype(np.float64)
        differences[i] = _weighted_auc(ranks[0], labels, counts) - _weighted_auc(ranks[1], labels, counts)
    low, high = np.quantile(differences, QUANTILES)
    return Difference(auc(ours, labels) - auc(theirs, labels), float(low), float(high))


def compared_rows(labels: Labels, own: NDArray[np.bool_]) -> Integers:
    """Rows of some pictures and, if they are of one class, of the other class among all other pictures.

    Args:
        labels: (n,).
        own: (n,), the pictures whose AUC is to be measured.
    """
    missing = [label for label in (0, 1) if not (labels[own] == label).any()]
    return np.flatnonzero(own | np.isin(labels, missing))


def mean_auc(scores: Floats, labels: Labels, subsets: Sequence[Integers]) -> float:
    """Mean AUC of some subsets of the pictures; each subset has the same weight.

    Args:
        scores: (n,), higher for fakes.
        labels: (n,).
        subsets: row numbers of each; both classes must occur in it.
    """
    return float(np.mean([auc(scores[rows], labels[rows]) for rows in subsets]))


def estimate_mean_auc(scores: Floats, labels: Labels, subsets: Sequence[Integers], strata: Integers) -> Estimate:
    """`mean_auc` with the interval of a bootstrap that draws pictures within each stratum.

    Args:
        scores, labels, subsets: see `mean_auc`; subsets may share pictures.
        strata: (n,), for example a number per source and class.
    """
    replicates = [_mean_auc_replicates(scores, labels, subsets, counts) for counts in _resampled_counts(strata)]
    return percentile_interval(np.array(replicates), mean_auc(scores, labels, subsets))


def mean_auc_difference(
    ours: Floats, theirs: Floats, labels: Labels, subsets: Sequence[Integers], strata: Integers
) -> Difference:
    """Difference of two models' `mean_auc` on the same pictures, by a paired bootstrap within each stratum."""
    replicates = [
        _mean_auc_replicates(ours, labels, subsets, counts) - _mean_auc_replicates(theirs, labels, subsets, counts)
        for counts in _resampled_counts(strata)
    ]
    low, high = np.quantile(replicates, QUANTILES)
    return Difference(mean_auc(ours, labels, subsets) - mean_auc(theirs, labels, subsets), float(low), float(high))


def proportion_difference(ours: NDArray[np.bool_], theirs: NDArray[np.bool_], confidence: float = 0.95) -> Difference:
    """Difference of two shares of correct answers to the same pictures, by a paired bootstrap.

    Per picture the difference is +1, 0 or -1, so a resample of n pictures is one multinomial draw of three counts.

    Args:
        ours: (n,), whether the candidate is right; n > 0.
        theirs: (n,), whether the champion is right.
        confidence: of the interval.
    """
    n = len(ours)
    won, lost = int(np.sum(ours & ~theirs)), int(np.sum(theirs & ~ours))
    shares = np.array([won, lost, n - won - lost]) / n
    draws = np.random.default_rng(SEED).multinomial(n, shares, PROPORTION_RESAMPLES)
    tail = (1 - confidence) / 2
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / n, (tail, 1 - tail))
    return Difference((won - lost) / n, float(low), float(high), confidence)


def stratified_bootstrap(labels: Labels, resamples: int, seed: int) -> list[Integers]:
    """Bootstrap resamples: row numbers (n,) each, drawn class by class so that no resample lacks one."""
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    return [np.concatenate([rng.choice(c, len(c)) for c in classes]) for _ in range(resamples)]


def percentile_interval(resampled: Floats, value: float) -> Estimate:
    """`value` with the percentile interval of its bootstrap replicates (k,)."""
    low, high = np.quantile(resampled, QUANTILES)
    return Estimate(value, float(low), float(high))


def _variance_of_mean(values: Floats) -> float:
    return float(np.var(values, ddof=1)) / len(values) if len(values) > 1 else 0.0


def _dense_ranks(scores: Floats) -> Integers:
    """(n,), 0 for the lowest score; equal scores share a rank."""
    from scipy.stats import rankdata

    return rankdata(scores, "dense").astype(np.int64) - 1


def _count_per_rank(ranks: Integers, counts: Floats) -> Floats:
    """(k,), how many of the pictures, which occur `counts` (n,) times, have each rank."""
    return np.bincount(ranks, weights=counts).astype(np.float64)


def _count_below(counts: Floats) -> Floats:
    """(k,), how many of the pictures counted per rank (k,) lie below each rank; those at the rank count half."""
    return np.asarray(np.cumsum(counts) - counts / 2)


def _resampled_counts(strata: Integers) -> Iterator[Floats]:
    """How often each picture (n,) was drawn, in each of the resamples; strata keep their sizes."""
    rng = np.random.default_rng(SEED)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    for _ in range(MEAN_AUC_RESAMPLES):
        rows = np.concatenate([rng.choice(each, len(each)) for each in members])
        yield np.bincount(rows, minlength=len(strata)).astype(np.float64)


def _mean_auc_replicates(scores: Floats, labels: Labels, subsets: Sequence[Integers], counts: Floats) -> float:
    """Mean AUC of pictures that occur `counts` (n,) times."""
    return float(np.mean([_weighted_auc(_dense_ranks(scores[rows]), labels[rows], counts[rows]) for rows in subsets]))


def _weighted_auc(ranks: Integers, labels: Labels, counts: Floats) -> float:
    """AUC of pictures that occur `counts` (n,) times."""
    fakes, reals = (_count_per_rank(ranks, counts * (labels == label)) for label in (1, 0))
    return float(np.sum(fakes * _count_below(reals)) / (fakes.sum() * reals.sum()))


def _delong_components(scores: Floats, labels: Labels) -> tuple[Floats, Floats]:
    """For each fake the share of real ones below it, for each real one the share of fakes above it; ties count half."""
    ranks = _dense_ranks(scores)
    fakes, reals = (_count_per_rank(ranks, (labels == label).astype(np.float64)) for label in (1, 0))
    reals_below = _count_below(reals)[ranks[labels == 1]] / reals.sum()
    fakes_above = 1 - _count_below(fakes)[ranks[labels == 0]] / fakes.sum()
    return reals_below, fakes_above


def _auc_influence(scores: Floats, labels: Labels) -> tuple[float, Floats]:
    """AUC, and the influence (n,) of each picture on it."""
    reals_below, fakes_above = _delong_components(scores, labels)
    value = float(reals_below.mean())
    influence = np.zeros(len(scores))
    influence[labels == 1] = (reals_below - value) / len(reals_below)
    influence[labels == 0] = (fakes_above - value) / len(fakes_above)
    return value, influence
