"""Validation logits (n,) or (n, k) and labels (n,) -> scales and thresholds; the test split is never looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from deepfake_detector.config import Evaluate
from deepfake_detector.model.bundle import Thresholds, probabilities

__all__ = ["Balance", "Scale", "fit_balance", "fit_scale", "fit_thresholds", "probabilities"]

Floats = NDArray[np.float64]
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
MIN_OF_A_KIND = 50  # fewer fakes of one kind in the validation split say nothing about its logits


@dataclass(frozen=True)
class Balance:
    """What makes the logits of k kinds of fakes comparable: each times its weight, plus its offset."""

    weights: tuple[float, ...]  # their product is 1; how sure they are altogether is the temperature's
    offsets: tuple[float, ...]

    def of(self, kinds: Floats) -> Floats:
        """Balanced logits (n, k) of a network's logits (n, k)."""
        return np.asarray(kinds * self.weights + self.offsets, np.float64)

    def undone(self, kinds: Floats) -> Floats:
        """The network's logits (n, k) of balanced ones (n, k)."""
        return np.asarray((kinds - self.offsets) / self.weights, np.float64)


def fit_balance(kinds: Floats, classes: NDArray[np.int64]) -> Balance:
    """Weights and offsets of the kinds at the least cross-entropy (vector scaling, Guo et al. 2017).

    One kind is learnt better than another: what the weaker one says of everybody's real faces would drown what the
    stronger one knows. With one kind, or too few fakes of one, nothing is changed.

    Args:
        kinds: (n, k) logits against real.
        classes: (n,), 0 = real, 1.. = the kinds.
    """
    many = kinds.shape[1]
    seen = np.bincount(classes, minlength=many + 1)
    if many == 1 or seen.min() < MIN_OF_A_KIND:
        return Balance((1.0,) * many, (0.0,) * many)

    def loss(flat: Floats) -> float:
        scaled = kinds * np.exp(flat[:many]) + flat[many:]
        everything = np.column_stack([np.zeros(len(scaled)), scaled])
        return float((logsumexp(everything, axis=1) - everything[np.arange(len(scaled)), classes]).mean())

    steepest = float(np.log(MAX_TEMPERATURE))
    limits = [(-steepest, steepest)] * many + [(-50.0, 50.0)] * many
    best = minimize(loss, np.zeros(2 * many), method="L-BFGS-B", bounds=limits).x
    together = np.exp(best[:many].mean())
    return Balance(tuple(np.exp(best[:many]) / together), tuple(best[many:] / together))


@dataclass(frozen=True)
class Scale:
    """What makes a probability of a logit: `sigmoid((logit + offset) / temperature)`."""

    temperature: float
    offset: float


def fit_scale(logits: Floats, labels: NDArray[np.int64]) -> Scale:
    """Temperature and offset at the least negative log-likelihood (Platt 1999).

    A temperature alone (Guo et al. 2017) cannot mend a network that leans to one side, and one that was trained on
    more fakes than reals does: with a quarter of the real crops blended, p_fake was 0.14 too high on average. The
    truth counts as a little less than certain, as Platt has it, so that classes that lie apart have an answer too.

    Args:
        logits: (n,), above 0 means fake.
        labels: (n,), 1 = fake.

    Returns:
        A temperature between 0.05 and 20, and an offset.
    """
    fakes, reals = int((labels == 1).sum()), int((labels == 0).sum())
    target = np.where(labels == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))

    def loss(slope_and_shift: Floats) -> tuple[float, Floats]:
        z = slope_and_shift[0] * logits + slope_and_shift[1]
        wrong = expit(z) - target
        return float((np.logaddexp(0.0, z) - target * z).mean()), np.array([(wrong * logits).mean(), wrong.mean()])

    steepest = 1 / MIN_TEMPERATURE
    best = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", options={"ftol": 1e-12, "gtol": 1e-8},
                    bounds=((1 / MAX_TEMPERATURE, steepest), (-50 * steepest, 50 * steepest)))  # fmt: skip
    slope, shift = (float(value) for value in best.x)
    return Scale(1 / slope, shift / slope)


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


def _above(scores: Floats, share: float) -> float:
    """The smallest threshold that at most `share` of the scores reach."""
    allowed = int(np.floor(share * len(scores)))
    return float(np.nextafter(np.sort(scores)[::-1][allowed], np.inf)) if allowed < len(scores) else 0.0
