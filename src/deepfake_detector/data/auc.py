"""Out-of-fold scores (n,) and labels (n,) -> how well they tell the classes apart, with a 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_Z = 1.959964  # 95 % of a normal distribution lie within


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


def _share_below(values: Floats, others: Floats) -> Floats:
    """For each value the share of `others` that lie below it, equal ones counted half."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * len(others))
