"""Probabilities (n,) and labels (n,) -> classification, calibration and threshold metrics with 95 % intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.model.bundle import Thresholds
from deepfake_detector.stats import (
    Estimate,
    Floats,
    Labels,
    estimate_auc,
    estimate_proportion,
    percentile_interval,
    stratified_bootstrap,
)

CropScorer = Callable[[NDArray[np.uint8]], Floats]  # crops (n, side, side, 3) -> calibrated p_fake (n,)
ESTIMATES = ("accuracy", "precision", "recall", "f1", "auc", "ece")


@dataclass(frozen=True)
class ClassificationMetrics:
    """Metrics of one model on one set of pictures, at p_fake >= 0.5 unless named otherwise."""

    images: int
    accuracy: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate
    auc: Estimate
    confusion: dict[str, int]  # true_negatives, false_positives, false_negatives, true_positives
    ece: Estimate  # expected calibration error
    brier: float
    nll: float

    def as_dict(self) -> dict[str, object]:
        """For a JSON report."""
        return asdict(self)

    def flat(self) -> dict[str, float]:
        """One number per name, for MLflow and the bundle's contract: accuracy, accuracy_low, accuracy_high, ..."""
        numbers = {"images": float(self.images), "brier": self.brier, "nll": self.nll}
        for name in ESTIMATES:
            estimate: Estimate = getattr(self, name)
            numbers |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        return numbers


def classification_metrics(
    p_fake: Floats, labels: Labels, resamples: int, bins: int, seed: int = 0
) -> ClassificationMetrics:
    """All metrics of one set of pictures that holds both classes.

    Accuracy, precision and recall get Wilson intervals, the AUC DeLong's; F1 and the calibration error get bootstrap
    intervals from `resamples` resamples, which for F1 are stratified by class.

    Args:
        p_fake: (n,) calibrated probabilities.
        labels: (n,).
        resamples: of the bootstrap.
        bins: of the calibration error.
        seed: of the bootstrap.

    Raises:
        ValueError: the pictures are all of one class.
    """
    predicted, truth = p_fake >= 0.5, labels == 1
    tp, fp, fn, tn = (
        int(mask.sum())
        for mask in (predicted & truth, predicted & ~truth, ~predicted & truth, ~predicted & ~truth)
    )  # fmt: skip
    auc = estimate_auc(p_fake, labels)
    if auc is None:
        raise ValueError(f"{len(labels)} pictures of one class only: metrics need real and fake ones")
    rows = stratified_bootstrap(labels, resamples, seed)
    return ClassificationMetrics(
        images=len(labels),
        accuracy=estimate_proportion(tp + tn, len(labels)),
        precision=estimate_proportion(tp, tp + fp),
        recall=estimate_proportion(tp, tp + fn),
        f1=percentile_interval(np.array([_f1(truth[i], predicted[i]) for i in rows]), _f1(truth, predicted)),
        auc=auc,
        confusion={"true_negatives": tn, "false_positives": fp, "false_negatives": fn, "true_positives": tp},
        ece=estimate_calibration_error(p_fake, labels, bins, resamples, seed),
        brier=brier_score(p_fake, labels),
        nll=nll(p_fake, labels),
    )


def brier_score(p_fake: Floats, labels: Labels) -> float:
    """Mean squared difference of probability and label."""
    return float(np.mean((p_fake - labels) ** 2))


def nll(p_fake: Floats, labels: Labels) -> float:
    """Mean negative log-likelihood of the labels."""
    return float(-np.log(np.clip(np.where(labels == 1, p_fake, 1 - p_fake), 1e-12, 1.0)).mean())


def calibration_error(p_fake: Floats, labels: Labels, bins: int) -> float:
    """Expected calibration error over bins of equal width (Guo et al. 2017)."""
    index = np.minimum((p_fake * bins).astype(int), bins - 1)
    gap = np.bincount(index, weights=p_fake - labels, minlength=bins)
    return float(np.abs(gap).sum() / max(1, len(labels)))


def estimate_calibration_error(p_fake: Floats, labels: Labels, bins: int, resamples: int, seed: int = 0) -> Estimate:
    """Expected calibration error with a bootstrap interval; resamples are not stratified, as class shares matter here.

    A resampled set is noisier than the set itself, so its error is larger on average; the replicates are shifted back
    by that bias before the interval is read off.
    """
    value = calibration_error(p_fake, labels, bins)
    rows = stratified_bootstrap(np.zeros_like(labels), resamples, seed)
    replicates = np.array([calibration_error(p_fake[i], labels[i], bins) for i in rows])
    unbiased = percentile_interval(replicates - replicates.mean() + value, value)
    return Estimate(value, max(0.0, unbiased.low), unbiased.high)


def reliability_curve(p_fake: Floats, labels: Labels, bins: int) -> Floats:
    """One row per bin that holds pictures: mean p_fake, share of fakes, pictures; (k, 3)."""
    index = np.minimum((p_fake * bins).astype(int), bins - 1)
    filled = [index == b for b in range(bins) if (index == b).any()]
    return np.array([[p_fake[b].mean(), labels[b].mean(), b.sum()] for b in filled])


def _f1(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    return 2 * float((predicted & truth).sum()) / max(1.0, float(predicted.sum() + truth.sum()))


@dataclass(frozen=True)
class CalibrationErrors:
    """Expected calibration error, negative log-likelihood and Brier score of one set of probabilities."""

    ece: Estimate
    nll: float
    brier: float


@dataclass(frozen=True)
class CalibrationComparison:
    """One set of pictures before and after calibration; `pictures` names the set for people."""

    pictures: str
    images: int
    before: CalibrationErrors
    after: CalibrationErrors

    def as_dict(self) -> dict[str, object]:
        """For a JSON report."""
        return asdict(self)


def compare_calibration(
    pictures: str, before: Floats, after: Floats, labels: Labels, bins: int, resamples: int
) -> CalibrationComparison:
    """Measure both.

    Args:
        pictures: the set's name, for people.
        before: (n,) probabilities of the network itself.
        after: (n,) calibrated.
        labels: (n,).
        bins: of the calibration error.
        resamples: of the bootstrap.
    """

    def errors(p_fake: Floats) -> CalibrationErrors:
        ece = estimate_calibration_error(p_fake, labels, bins, resamples)
        return CalibrationErrors(ece, nll(p_fake, labels), brier_score(p_fake, labels))

    return CalibrationComparison(pictures, len(labels), errors(before), errors(after))


@dataclass(frozen=True)
class ThresholdMetrics:
    """Metrics of one set of pictures at the three thresholds.

    Attributes:
        coverage: share that is answered "fake" or "real"; the others lie between `clear` and `flag`.
        selective_accuracy: accuracy of the answered ones.
        true_positive_rate, false_positive_rate: shares of the fakes and of the real ones at or above `flag`.
        true_positive_rate_at_strict, false_positive_rate_at_strict: the same at `strict`.
        false_negative_rate_at_clear: share of the fakes that are answered "real".
    """

    coverage: Estimate
    selective_accuracy: Estimate
    true_positive_rate: Estimate
    false_positive_rate: Estimate
    true_positive_rate_at_strict: Estimate
    false_positive_rate_at_strict: Estimate
    false_negative_rate_at_clear: Estimate


def threshold_metrics(p_fake: Floats, labels: Labels, thresholds: Thresholds) -> ThresholdMetrics:
    """Answer every picture as serving does: `flag` is compared first, then `clear`.

    Args:
        p_fake: (n,) calibrated probabilities.
        labels: (n,).
        thresholds: of the contract.
    """
    flagged, truth = p_fake >= thresholds.flag, labels == 1
    cleared = ~flagged & (p_fake <= thresholds.clear)
    strict, answered = p_fake >= thresholds.strict, flagged | cleared
    fakes, reals = int(truth.sum()), int((~truth).sum())
    correct = (flagged & truth) | (cleared & ~truth)
    return ThresholdMetrics(
        coverage=estimate_proportion(int(answered.sum()), len(labels)),
        selective_accuracy=estimate_proportion(int(correct.sum()), int(answered.sum())),
        true_positive_rate=estimate_proportion(int((flagged & truth).sum()), fakes),
        false_positive_rate=estimate_proportion(int((flagged & ~truth).sum()), reals),
        true_positive_rate_at_strict=estimate_proportion(int((strict & truth).sum()), fakes),
        false_positive_rate_at_strict=estimate_proportion(int((strict & ~truth).sum()), reals),
        false_negative_rate_at_clear=estimate_proportion(int((cleared & truth).sum()), fakes),
    )
