"""Vector scaling and Platt scaling recover known values, and stay finite in extreme cases."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.model.bundle import probabilities
from deepfake_detector.model.calibration import fit_platt_scaling, fit_vector_scaling


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("offset", [-1.5, 0.0, 0.7])
def test_platt_scaling_recovers_known_parameters(temperature: float, offset: float) -> None:
    rng = np.random.default_rng(1)
    calibrated = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < probabilities(calibrated, 1.0)).astype(np.int64)
    scale = fit_platt_scaling(calibrated * temperature - offset, labels)
    assert scale.temperature == pytest.approx(temperature, rel=0.05)
    assert scale.offset == pytest.approx(offset, abs=0.06 * temperature)


def test_platt_scaling_of_separable_classes_is_finite() -> None:
    scale = fit_platt_scaling(np.concatenate([np.full(200, 3.0), np.full(200, 5.0)]), np.repeat([0, 1], 200))
    assert scale.offset == pytest.approx(-4.0, abs=0.1)
    assert 0.05 <= scale.temperature < 1
    p = probabilities(np.array([3.0, 5.0]) + scale.offset, scale.temperature)
    assert 0.001 < p[0] < 0.01  # Platt's targets: 200 pictures do not justify 0 or 1
    assert 0.99 < p[1] < 0.999


def test_the_temperature_of_inverted_scores_stays_within_its_bounds() -> None:
    logits = np.random.default_rng(3).normal(0, 3, 500)
    scale = fit_platt_scaling(logits, (logits < 0).astype(np.int64))
    assert scale.temperature == pytest.approx(20.0)


def sample_calibrated(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Calibrated logits (n, 2) of two kinds against real, and classes (n,) sampled from their probabilities."""
    kinds = rng.normal(0, 2, (n, 2))
    odds = np.exp(np.column_stack([np.zeros(n), kinds]))
    drawn = rng.random(n) * odds.sum(axis=1)
    return kinds, (drawn[:, None] > odds.cumsum(axis=1)).sum(axis=1)


def test_vector_scaling_recovers_known_parameters() -> None:
    calibrated, classes = sample_calibrated(np.random.default_rng(4), 20_000)
    logits = calibrated * [0.5, 2.0] - [0.7, 0.0]
    scaling = fit_vector_scaling(logits, classes)
    assert scaling.weights == pytest.approx((2.0, 0.5), rel=0.06)
    assert scaling.apply(logits) == pytest.approx(calibrated, abs=0.5)
    assert scaling.inverse(scaling.apply(logits)) == pytest.approx(logits)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_with_a_rare_class_nothing_is_scaled(missing: int) -> None:
    kinds, classes = sample_calibrated(np.random.default_rng(5), 1000)
    rare = np.flatnonzero(classes == missing)[10:]
    scaling = fit_vector_scaling(np.delete(kinds, rare, axis=0), np.delete(classes, rare))
    assert (scaling.weights, scaling.offsets) == ((1.0, 1.0), (0.0, 0.0))


def test_a_single_kind_is_not_scaled() -> None:
    scaling = fit_vector_scaling(np.random.default_rng(6).normal(0, 3, (500, 1)), np.repeat([0, 1], 250))
    assert (scaling.weights, scaling.offsets) == ((1.0,), (0.0,))


def test_extreme_logits_give_finite_probabilities() -> None:
    p = probabilities(np.array([-1e6, 0.0, 1e6]), 0.05)
    assert p.tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-20)
