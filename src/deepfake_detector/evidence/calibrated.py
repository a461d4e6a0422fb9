"""Probabilities (n,) before and after calibration, and labels (n,) -> how far they were off, and are."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from deepfake_detector.evidence.estimate import Estimate, Floats, Labels
from deepfake_detector.evidence.metrics import brier, calibration_interval, nll


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
