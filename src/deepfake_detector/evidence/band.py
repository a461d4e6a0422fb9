"""Probabilities (n,), labels (n,) and thresholds -> how often the detector answers, and how often it is then right."""

from __future__ import annotations

from dataclasses import dataclass

from deepfake_detector.evidence.estimate import Estimate, Floats, Labels, share
from deepfake_detector.model.bundle import Thresholds


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
