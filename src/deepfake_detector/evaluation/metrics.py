"""Probabilities (n,) and labels (n,) -> figures with 95 % intervals."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.model.bundle import Thresholds
from deepfake_detector.stats import Estimate, Floats, Labels, auc, between, draw, share

INTERVALS = ("accuracy", "precision", "recall", "f1", "auc", "ece")


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
    ece: Estimate  # expected calibration error
    brier: float
    nll: float

    def as_dict(self) -> dict[str, object]:
        """For a JSON report."""
        return asdict(self)

    def flat(self) -> dict[str, float]:
        """One number per name, for MLflow and the bundle's contract: accuracy, accuracy_low, accuracy_high, ..."""
        numbers = {"images": float(self.images), "brier": self.brier, "nll": self.nll}
        for name in INTERVALS:
            estimate: Estimate = getattr(self, name)
            numbers |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        return numbers


def measure(p_fake: Floats, labels: Labels, resamples: int, bins: int, seed: int = 0) -> Figures:
    """All figures of one set of pictures that holds both classes.

    Accuracy, precision and recall are shares of pictures and get Wilson intervals, the AUC DeLong's; F1 and the
    calibration error get bootstrap intervals from `resamples` draws, those of F1 stratified by class.

    Args:
        p_fake: (n,) calibrated probabilities.
        labels: (n,).
        resamples: bootstrap draws.
        bins: of the calibration error.
        seed: of the draws.
    """
    fake, truth = p_fake >= 0.5, labels == 1
    tp, fp, fn, tn = (int(v.sum()) for v in (fake & truth, fake & ~truth, ~fake & truth, ~fake & ~truth))
    area = auc(p_fake, labels)
    if area is None:
        raise ValueError(f"{len(labels)} pictures of one class only: nothing can be told apart")
    draws = draw(labels, resamples, seed)
    return Figures(
        images=len(labels),
        accuracy=share(tp + tn, len(labels)),
        precision=share(tp, tp + fp),
        recall=share(tp, tp + fn),
        f1=between(np.array([_f1(truth[i], fake[i]) for i in draws]), _f1(truth, fake)),
        auc=area,
        confusion={"true_real": tn, "false_fake": fp, "false_real": fn, "true_fake": tp},
        ece=calibration_interval(p_fake, labels, bins, resamples, seed),
        brier=brier(p_fake, labels),
        nll=nll(p_fake, labels),
    )


def brier(p_fake: Floats, labels: Labels) -> float:
    """Mean squared distance of the probabilities from the truth."""
    return float(np.mean((p_fake - labels) ** 2))


def nll(p_fake: Floats, labels: Labels) -> float:
    """Mean negative log-likelihood of the truth."""
    return float(-np.log(np.clip(np.where(labels == 1, p_fake, 1 - p_fake), 1e-12, 1.0)).mean())


def calibration_interval(p_fake: Floats, labels: Labels, bins: int, resamples: int, seed: int = 0) -> Estimate:
    """Expected calibration error with a bootstrap interval; draws are of all pictures, as class shares are at stake.

    A resampled set is noisier than the set itself, so its error is larger in every draw; the draws are moved back by
    that much before the ends of the interval are read off.
    """
    value = calibration_error(p_fake, labels, bins)
    draws = draw(np.zeros_like(labels), resamples, seed)
    drawn = np.array([calibration_error(p_fake[i], labels[i], bins) for i in draws])
    moved = between(drawn - drawn.mean() + value, value)
    return Estimate(value, max(0.0, moved.low), moved.high)


def calibration_error(p_fake: Floats, labels: Labels, bins: int) -> float:
    """Expected calibration error over bins of equal width (Guo et al. 2017)."""
    which = np.minimum((p_fake * bins).astype(int), bins - 1)
    gap = np.bincount(which, weights=p_fake - labels, minlength=bins)
    return float(np.abs(gap).sum() / max(1, len(labels)))


def reliability(p_fake: Floats, labels: Labels, bins: int) -> Floats:
    """One row per bin that holds pictures: mean p_fake, share of fakes, pictures; (k, 3)."""
    which = np.minimum((p_fake * bins).astype(int), bins - 1)
    filled = [which == b for b in range(bins) if (which == b).any()]
    return np.array([[p_fake[b].mean(), labels[b].mean(), b.sum()] for b in filled])


def _f1(truth: NDArray[np.bool_], fake: NDArray[np.bool_]) -> float:
    return 2 * float((fake & truth).sum()) / max(1.0, float(fake.sum() + truth.sum()))


@dataclass(frozen=True)
class Errors:
    """How far probabilities are from the truth: expected calibration error, log-likelihood, squared distance."""

    ece: Estimate
    nll: float
    brier: float


@dataclass(frozen=True)
class Calibrated:
    """One set of pictures, before and after calibration."""

    pictures: str
    images: int
    before: Errors
    after: Errors

    def as_dict(self) -> dict[str, object]:
        """For a JSON report."""
        return asdict(self)


def compare(pictures: str, before: Floats, after: Floats, labels: Labels, bins: int, resamples: int) -> Calibrated:
    """Measure both.

    Args:
        pictures: what they are, for people.
        before: (n,) as the network says them.
        after: (n,) calibrated.
        labels: (n,).
        bins: of the calibration error.
        resamples: bootstrap draws.
    """

    def errors(p_fake: Floats) -> Errors:
        ece = calibration_interval(p_fake, labels, bins, resamples)
        return Errors(ece, nll(p_fake, labels), brier(p_fake, labels))

    return Calibrated(pictures, len(labels), errors(before), errors(after))


@dataclass(frozen=True)
class Band:
    """What the three thresholds do to one set of pictures.

    Attributes:
        coverage: share that is answered "fake" or "real"; the others lie between `clear` and `flag`.
        accuracy: of those that are answered.
        caught, false_alarms: shares of the fakes and of the real ones at or above `flag`.
        strictly_caught, strict_false_alarms: the same at `strict`.
        cleared_fakes: share of the fakes that are answered "real".
    """

    coverage: Estimate
    accuracy: Estimate
    caught: Estimate
    false_alarms: Estimate
    strictly_caught: Estimate
    strict_false_alarms: Estimate
    cleared_fakes: Estimate


def measure_band(p_fake: Floats, labels: Labels, thresholds: Thresholds) -> Band:
    """Answer every picture as serving does: `flag` is asked first, then `clear`.

    Args:
        p_fake: (n,) calibrated probabilities.
        labels: (n,).
        thresholds: of the contract.
    """
    fake, truth = p_fake >= thresholds.flag, labels == 1
    real = ~fake & (p_fake <= thresholds.clear)
    strictly, answered = p_fake >= thresholds.strict, fake | real
    fakes, reals = int(truth.sum()), int((~truth).sum())
    return Band(
        coverage=share(int(answered.sum()), len(labels)),
        accuracy=share(int((fake & truth).sum() + (real & ~truth).sum()), int(answered.sum())),
        caught=share(int((fake & truth).sum()), fakes),
        false_alarms=share(int((fake & ~truth).sum()), reals),
        strictly_caught=share(int((strictly & truth).sum()), fakes),
        strict_false_alarms=share(int((strictly & ~truth).sum()), reals),
        cleared_fakes=share(int((real & truth).sum()), fakes),
    )
