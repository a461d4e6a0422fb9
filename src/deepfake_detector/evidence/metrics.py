"""Probabilities (n,) and labels (n,) -> figures with 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, roc_auc_score

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]  # 1 = fake, the positive class


@dataclass(frozen=True)
class Estimate:
    """A figure and the interval that holds it with 95 % confidence."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Figures:
    """How well one model does on one set of pictures, at p_fake >= 0.5 unless named otherwise."""

    images: int
    accuracy: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate
    auc: Estimate
    confusion: dict[str, int]  # true_real, false_fake, false_real, true_fake
    ece: float  # expected calibration error
    brier: float
    nll: float

    def as_dict(self) -> dict[str, object]:
        """For a JSON report."""
        return asdict(self)

    def flat(self) -> dict[str, float]:
        """One number per name, for MLflow and the bundle's contract: accuracy, accuracy_low, accuracy_high, ..."""
        numbers = {"images": float(self.images), "ece": self.ece, "brier": self.brier, "nll": self.nll}
        for name in ("accuracy", "precision", "recall", "f1", "auc"):
            estimate: Estimate = getattr(self, name)
            numbers |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        return numbers


def measure(p_fake: Floats, labels: Labels, resamples: int, bins: int, seed: int = 0) -> Figures:
    """All figures of one set of pictures.

    Accuracy, precision and recall are shares of pictures and get Wilson intervals; F1 and AUC get percentile
    intervals from `resamples` bootstrap draws, stratified by class so that no draw lacks one.

    Args:
        p_fake: (n,) calibrated probabilities.
        labels: (n,).
        resamples: bootstrap draws.
        bins: of the calibration error.
        seed: of the draws.
    """
    fake = p_fake >= 0.5
    tn, fp, fn, tp = (int(v) for v in confusion_matrix(labels, fake, labels=[0, 1]).ravel())
    clipped = np.clip(np.where(labels == 1, p_fake, 1 - p_fake), 1e-12, 1.0)
    draws = _draws(labels, resamples, seed)
    return Figures(
        images=len(labels),
        accuracy=_share(tp + tn, len(labels)),
        precision=_share(tp, tp + fp),
        recall=_share(tp, tp + fn),
        f1=_bootstrap(lambda i: _f1(labels[i], fake[i]), draws, len(labels)),
        auc=_auc(p_fake, labels, draws),
        confusion={"true_real": tn, "false_fake": fp, "false_real": fn, "true_fake": tp},
        ece=calibration_error(p_fake, labels, bins),
        brier=float(np.mean((p_fake - labels) ** 2)),
        nll=float(-np.log(clipped).mean()),
    )


@dataclass(frozen=True)
class Slice:
    """How well one model does on the pictures of one source, at p_fake >= 0.5."""

    images: int
    accuracy: Estimate
    auc: Estimate | None  # None where the source has pictures of one class only

    def as_dict(self) -> dict[str, object]:
        """For a JSON report; no AUC where there is none."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def measure_slices(
    p_fake: Floats, labels: Labels, sources: Sequence[str], resamples: int, seed: int = 0
) -> dict[str, Slice]:
    """Figures of each source by itself: a good sum may hide a source that the model fails on.

    Args:
        p_fake: (n,) calibrated probabilities.
        labels: (n,).
        sources: (n,) names.
        resamples: bootstrap draws behind the interval of the AUC.
        seed: of the draws.
    """
    names = np.asarray(sources)
    slices = {}
    for name in sorted(set(sources)):
        p, truth = p_fake[names == name], labels[names == name]
        right = int(((p >= 0.5) == truth).sum())
        auc = _auc(p, truth, _draws(truth, resamples, seed)) if len(set(truth.tolist())) == 2 else None
        slices[name] = Slice(len(truth), _share(right, len(truth)), auc)
    return slices


def calibration_error(p_fake: Floats, labels: Labels, bins: int) -> float:
    """Expected calibration error over bins of equal width (Guo et al. 2017)."""
    table = reliability(p_fake, labels, bins)
    weight = table[:, 2] / max(1, len(labels))
    return float(np.sum(weight * np.abs(table[:, 0] - table[:, 1])))


def reliability(p_fake: Floats, labels: Labels, bins: int) -> Floats:
    """One row per bin that holds pictures: mean p_fake, share of fakes, pictures; (k, 3)."""
    which = np.minimum((p_fake * bins).astype(int), bins - 1)
    filled = [which == b for b in range(bins) if (which == b).any()]
    return np.array([[p_fake[b].mean(), labels[b].mean(), b.sum()] for b in filled])


def _share(hits: int, out_of: int) -> Estimate:
    if out_of == 0:
        return Estimate(0.0, 0.0, 1.0)
    interval = binomtest(hits, out_of).proportion_ci(method="wilson")
    return Estimate(hits / out_of, float(interval.low), float(interval.high))


def _auc(p_fake: Floats, labels: Labels, draws: list[NDArray[np.int64]]) -> Estimate:
    return _bootstrap(lambda i: float(roc_auc_score(labels[i], p_fake[i])), draws, len(labels))


def _f1(labels: Labels, fake: NDArray[np.bool_]) -> float:
    hits = float((fake & (labels == 1)).sum())
    return 2 * hits / max(1.0, float(fake.sum() + (labels == 1).sum()))


def _draws(labels: Labels, resamples: int, seed: int) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == c) for c in (0, 1)]
    return [np.concatenate([rng.choice(c, len(c)) for c in classes]) for _ in range(resamples)]


def _bootstrap(figure: Callable[[NDArray[np.int64]], float], draws: list[NDArray[np.int64]], images: int) -> Estimate:
    low, high = np.quantile([figure(draw) for draw in draws], [0.025, 0.975])
    return Estimate(figure(np.arange(images)), float(low), float(high))
