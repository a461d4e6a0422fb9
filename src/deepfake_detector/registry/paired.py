"""Two models' scores on the same pictures (n,) -> the difference of a figure, and what chance makes of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
