"""Validation logits (n,) or (n, k) and labels (n,) -> calibration; the test split is never read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

Floats = NDArray[np.float64]
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
MIN_IMAGES_PER_CLASS = 50  # with fewer in the validation split, vector scaling overfits
PRIOR_DEVIATION = 0.5  # of the intercept and of the logarithm of the slope: about 16 images weigh as much as the prior


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


def fit_branch_weights(branches: Floats, classes: NDArray[np.int64], weights: Floats, images: int = 0) -> Floats:
    """A weight per branch and kind for the mean of the branches: stacking (Wolpert 1992) by cross-entropy.

    Branches know different fakes: one sees resampling traces that the other does not, and is blind to face swaps.

    Args:
        branches: (n, b, k) logits of k kinds against real.
        classes: (n,), 0 = real, 1.. = the kinds.
        weights: (n,) of the images.
        images: number of different images behind the logits, each in as many draws; 0: n.

    Returns:
        (b, k), at least 0; ones with one branch, or with fewer than 50 images of a class. Offsets are fitted as well
        and left to vector scaling.
    """
    _, b, k = branches.shape
    ones = np.ones((b, k))
    if b == 1 or _rarest_class(classes, k, images) < MIN_IMAGES_PER_CLASS:
        return ones

    def loss(parameters: Floats) -> float:
        scaled = (branches * parameters[: b * k].reshape(b, k)).mean(axis=1) + parameters[b * k :]
        return _cross_entropy(scaled, classes, weights)

    bounds = [(0.0, MAX_TEMPERATURE)] * (b * k) + [(-50.0, 50.0)] * k
    best = minimize(loss, np.append(ones.ravel(), np.zeros(k)), method="L-BFGS-B", bounds=bounds).x
    return np.asarray(best[: b * k].reshape(b, k), np.float64)


def source_weights(sources: Sequence[str], labels: NDArray[np.int64], weights: Mapping[str, float]) -> Floats:
    """Weights (n,), mean 1, with which both classes count the same, and within a class each source by its weight.

    Args:
        sources: (n,) names.
        labels: (n,), 1 = fake.
        weights: source -> its weight; it may miss a source only if no image has it.
    """
    groups = [(source, int(label)) for source, label in zip(sources, labels, strict=True)]
    images = Counter(groups)
    result = np.array([weights[source] / images[source, label] for source, label in groups], np.float64)
    for label in (0, 1):
        result[labels == label] /= result[labels == label].sum()
    return np.asarray(result / result.mean(), np.float64)


def _rarest_class(classes: NDArray[np.int64], kinds: int, images: int) -> float:
    """Different images of the rarest class; corrupted copies of an image add none."""
    return float(np.bincount(classes, minlength=kinds + 1).min() * (images or len(classes)) / len(classes))


def _cross_entropy(kinds: Floats, classes: NDArray[np.int64], weights: Floats | float = 1.0) -> float:
    """Mean over images of kind logits (n, k) against real, whose own logit is 0."""
    logits = np.column_stack([np.zeros(len(kinds)), kinds])
    losses = logsumexp(logits, axis=1) - logits[np.arange(len(logits)), classes]
    return float((losses * weights).mean())


def fit_vector_scaling(
    kinds: Floats, classes: NDArray[np.int64], weights: Floats | float = 1.0, images: int = 0
) -> VectorScaling:
    """Weights and offsets that minimise the cross-entropy (Guo et al. 2017).

    Kinds are learned unequally well. Without scaling, the noise of a weak kind's logits on real faces hides the signal
    of a strong kind.

    Args:
        kinds: (n, k) logits against real.
        classes: (n,), 0 = real, 1.. = the kinds.
        weights: (n,) of the images.
        images: number of different images behind the logits, each in as many draws; 0: n.

    Returns:
        Weights 1 and offsets 0 with one kind, or with fewer than 50 images of a class.
    """
    k = kinds.shape[1]
    if k == 1 or _rarest_class(classes, k, images) < MIN_IMAGES_PER_CLASS:
        return VectorScaling((1.0,) * k, (0.0,) * k)

    def loss(parameters: Floats) -> float:
        return _cross_entropy(kinds * np.exp(parameters[:k]) + parameters[k:], classes, weights)

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


def fit_platt_scaling(
    logits: Floats,
    labels: NDArray[np.int64],
    prior: PlattScaling | None = None,
    images: int = 0,
    weights: Floats | float = 1.0,
) -> PlattScaling:
    """Temperature and offset that minimise the negative log-likelihood (Platt 1999).

    A temperature alone (Guo et al. 2017) cannot correct a biased network, and training on more fakes than reals makes
    it biased: with a quarter of the real crops self-blended, p_fake was 0.14 too high on average. The targets are
    Platt's, slightly inside 0 and 1, so that separable classes have a finite solution.

    Args:
        logits: (n,), above 0 means fake.
        labels: (n,), 1 = fake.
        prior: calibration of the model that the training started from. Intercept and logarithm of the slope are
            normally distributed around its own: of few images the result is a mixture of both, of many their own.
        images: number of different images behind the logits, for the prior; 0: n.
        weights: (n,) of the images, mean 1.

    Returns:
        A temperature between 0.05 and 20, and an offset.
    """
    precision = 1 / (PRIOR_DEVIATION**2 * (images or len(labels))) if prior else 0.0
    expected = (1 / prior.temperature, prior.offset / prior.temperature) if prior else (1.0, 0.0)
    fakes, reals = int((labels == 1).sum()), int((labels == 0).sum())
    target = np.where(labels == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))

    def loss(slope_and_intercept: Floats) -> tuple[float, Floats]:
        z = slope_and_intercept[0] * logits + slope_and_intercept[1]
        residual = (expit(z) - target) * weights
        gradient = np.array([(residual * logits).mean(), residual.mean()])
        away = np.array([np.log(slope_and_intercept[0] / expected[0]), slope_and_intercept[1] - expected[1]])
        gradient += precision * away / [slope_and_intercept[0], 1.0]
        losses = (np.logaddexp(0.0, z) - target * z) * weights
        return float(losses.mean() + precision * (away**2).sum() / 2), gradient

    max_slope = 1 / MIN_TEMPERATURE
    best = minimize(loss, np.array(expected), jac=True, method="L-BFGS-B", options={"ftol": 1e-12, "gtol": 1e-8},
                    bounds=((1 / MAX_TEMPERATURE, max_slope), (-50 * max_slope, 50 * max_slope)))  # fmt: skip
    slope, intercept = (float(value) for value in best.x)
    return PlattScaling(1 / slope, intercept / slope)
