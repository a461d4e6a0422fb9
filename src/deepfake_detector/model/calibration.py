"""Validation logits (n,) or (n, k) and labels (n,) -> calibration; the test split is never read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

Floats = NDArray[np.float64]
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
MIN_IMAGES_PER_CLASS = 50  # with fewer in the validation split, vector scaling overfits


@dataclass(frozen=True)
class VectorScaling:
    """Vector scaling of the logits of k kinds (Guo et al. 2017): each times its weight, plus its offset."""

    weights: tuple[float, ...]  # their product is 1: the common factor is the temperature
    offsets: tuple[float, ...]

    def apply(self, kinds: Floats) -> Floats:
        """The network's logits (n, k) -> scaled logits (n, k)."""
        return np.asarray(kinds * self.weights + self.offsets, np.float64)

    def inverse(self, kinds: Floats) -> Floats:
        """Scaled logits (n, k) -> the network's logits (n, k)."""
        return np.asarray((kinds - self.offsets) / self.weights, np.float64)


def fit_vector_scaling(kinds: Floats, classes: NDArray[np.int64]) -> VectorScaling:
    """Weights and offsets that minimise the cross-entropy (Guo et al. 2017).

    Kinds are learned unequally well. Without scaling, the noise of a weak kind's logits on real faces hides the signal
    of a strong kind.

    Args:
        kinds: (n, k) logits against real.
        classes: (n,), 0 = real, 1.. = the kinds.

    Returns:
        Weights 1 and offsets 0 with one kind, or with fewer than 50 images of a class.
    """
    k = kinds.shape[1]
    images = np.bincount(classes, minlength=k + 1)
    if k == 1 or images.min() < MIN_IMAGES_PER_CLASS:
        return VectorScaling((1.0,) * k, (0.0,) * k)

    def loss(parameters: Floats) -> float:
        scaled = kinds * np.exp(parameters[:k]) + parameters[k:]
        logits = np.column_stack([np.zeros(len(scaled)), scaled])  # real has the logit 0
        return float((logsumexp(logits, axis=1) - logits[np.arange(len(scaled)), classes]).mean())

    max_log_weight = float(np.log(MAX_TEMPERATURE))
    bounds = [(-max_log_weight, max_log_weight)] * k + [(-50.0, 50.0)] * k
    best = minimize(loss, np.zeros(2 * k), method="L-BFGS-B", bounds=bounds).x
    common = np.exp(best[:k].mean())
    return VectorScaling(tuple(np.exp(best[:k]) / common), tuple(best[k:] / common))


@dataclass(frozen=True)
class PlattScaling:
    """Logit -> probability: `sigmoid((logit + offset) / temperature)`."""

    temperature: float
    offset: float


def fit_platt_scaling(logits: Floats, labels: NDArray[np.int64]) -> PlattScaling:
    """Temperature and offset that minimise the negative log-likelihood (Platt 1999).

    A temperature alone (Guo et al. 2017) cannot correct a biased network, and training on more fakes than reals makes
    it biased: with a quarter of the real crops self-blended, p_fake was 0.14 too high on average. The targets are
    Platt's, slightly inside 0 and 1, so that separable classes have a finite solution.

    Args:
        logits: (n,), above 0 means fake.
        labels: (n,), 1 = fake.

    Returns:
        A temperature between 0.05 and 20, and an offset.
    """
    fakes, reals = int((labels == 1).sum()), int((labels == 0).sum())
    target = np.where(labels == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))

    def loss(slope_and_intercept: Floats) -> tuple[float, Floats]:
        z = slope_and_intercept[0] * logits + slope_and_intercept[1]
        residual = expit(z) - target
        gradient = np.array([(residual * logits).mean(), residual.mean()])
        return float((np.logaddexp(0.0, z) - target * z).mean()), gradient

    max_slope = 1 / MIN_TEMPERATURE
    best = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", options={"ftol": 1e-12, "gtol": 1e-8},
                    bounds=((1 / MAX_TEMPERATURE, max_slope), (-50 * max_slope, 50 * max_slope)))  # fmt: skip
    slope, intercept = (float(value) for value in best.x)
    return PlattScaling(1 / slope, intercept / slope)
