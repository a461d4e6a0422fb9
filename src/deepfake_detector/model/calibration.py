"""Validation logits (n,) and labels (n,) -> temperature and thresholds; the test split is never looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit

from deepfake_detector.model.bundle import Thresholds
from deepfake_detector.settings import Evaluate

Floats = NDArray[np.float64]


def fit_temperature(logits: Floats, labels: NDArray[np.int64]) -> float:
    """The one number that logits are divided by so that their sigmoid is a probability (Guo et al. 2017).

    Args:
        logits: (n,), above 0 means fake.
        labels: (n,), 1 = fake.

    Returns:
        A temperature between 0.05 and 20, at the least negative log-likelihood.
    """
    sign = np.where(labels == 1, -1.0, 1.0)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, sign * logits / np.exp(log_temperature)).mean())

    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(best.x))


def fit_thresholds(p_fake: Floats, labels: NDArray[np.int64], settings: Evaluate) -> Thresholds:
    """Thresholds at the wished rates of error, never on the wrong side of one half.

    A threshold of the flag under 0.5 would call "fake" what the detector itself holds for more likely real; where the
    classes lie far apart, both thresholds are therefore 0.5 and nothing is inconclusive.

    Args:
        p_fake: (n,) calibrated probabilities of validation pictures.
        labels: (n,), 1 = fake.
        settings: the wished shares.
    """
    real, fake = p_fake[labels == 0], p_fake[labels == 1]
    flag = _above(real, settings.flag_false_positives)
    strict = _above(real, settings.strict_false_positives)
    clear = float(np.quantile(fake, settings.clear_false_negatives, method="lower"))
    return Thresholds(clear=min(clear, 0.5), flag=max(flag, 0.5), strict=max(strict, flag, 0.5))


def probabilities(logits: Floats, temperature: float) -> Floats:
    """Calibrated probability (n,) that each picture is fake."""
    return np.asarray(expit(np.asarray(logits, np.float64) / temperature))


def _above(scores: Floats, share: float) -> float:
    """The smallest threshold that at most `share` of the scores reach."""
    allowed = int(np.floor(share * len(scores)))
    return float(np.nextafter(np.sort(scores)[::-1][allowed], np.inf)) if allowed < len(scores) else 0.0
