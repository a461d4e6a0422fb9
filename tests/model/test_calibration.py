"""Vector scaling and Platt scaling recover known values, and stay finite in extreme cases."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.model.bundle import probabilities
from deepfake_detector.model.calibration import (
    PlattScaling,
    fit_branch_weights,
    fit_platt_scaling,
    fit_vector_scaling,
    source_weights,
)


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


def test_corrupted_copies_of_few_images_are_no_more_images() -> None:
    """Four draws of 40 images of each class: 160 rows, and still too few images to fit 4 parameters to."""
    rng = np.random.default_rng(13)
    classes = np.tile(np.repeat([0, 1, 2], 40), 4)
    kinds = rng.normal(0, 1, (480, 2)) + 3 * (classes[:, None] == [1, 2])
    assert fit_vector_scaling(kinds, classes).weights != (1.0, 1.0)
    assert fit_vector_scaling(kinds, classes, images=120).weights == (1.0, 1.0)
    two = np.stack([kinds, rng.normal(0, 1, kinds.shape)], axis=1)
    assert (fit_branch_weights(two, classes, np.ones(480)) != np.ones((2, 2))).any()
    assert (fit_branch_weights(two, classes, np.ones(480), images=120) == np.ones((2, 2))).all()


def test_a_single_kind_is_not_scaled() -> None:
    scaling = fit_vector_scaling(np.random.default_rng(6).normal(0, 3, (500, 1)), np.repeat([0, 1], 250))
    assert (scaling.weights, scaling.offsets) == ((1.0,), (0.0,))


def test_extreme_logits_give_finite_probabilities() -> None:
    p = probabilities(np.array([-1e6, 0.0, 1e6]), 0.05)
    assert p.tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-20)


def test_of_few_images_the_calibration_is_a_mixture_with_that_of_the_start() -> None:
    rng = np.random.default_rng(8)
    calibrated = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < probabilities(calibrated, 1.0)).astype(np.int64)
    logits = calibrated * 4 - 3  # of its own: temperature 4, offset 3
    prior = PlattScaling(1.0, 0.0)
    many, few = (fit_platt_scaling(logits[:n], labels[:n], prior) for n in (20_000, 20))
    assert (many.temperature, many.offset) == pytest.approx((4.0, 3.0), rel=0.06)
    alone = fit_platt_scaling(logits[:20], labels[:20])
    assert prior.temperature < few.temperature < alone.temperature
    assert prior.offset < few.offset / few.temperature < alone.offset / alone.temperature + 0.5


def test_copies_of_an_image_do_not_outweigh_the_calibration_of_the_start() -> None:
    logits, labels = np.array([-1.0, 2.0, 1.0, 5.0]), np.array([0, 0, 1, 1])
    prior = PlattScaling(2.0, -1.0)
    once = fit_platt_scaling(logits, labels, prior)
    copied = fit_platt_scaling(np.tile(logits, 100), np.tile(labels, 100), prior, images=4)
    # Platt's targets come from the number of scores, so they are not equal.
    assert (copied.temperature, copied.offset) == pytest.approx((once.temperature, once.offset), abs=0.5)


def test_without_an_image_the_calibration_is_that_of_the_start() -> None:
    found = fit_platt_scaling(np.full(2, 1.0), np.array([0, 1]), PlattScaling(2.0, -1.0), images=1)
    assert found.temperature == pytest.approx(2.0, abs=0.3)
    assert found.offset / found.temperature == pytest.approx(-0.5, abs=0.1)


def test_branch_weights_prefer_the_branch_that_knows_a_kind() -> None:
    """The first branch is noise for the second kind, and the second for the first."""
    rng = np.random.default_rng(11)
    kinds, classes = sample_calibrated(rng, 20_000)
    noise = rng.normal(0, 2, kinds.shape)
    branches = np.stack([np.where([True, False], kinds, noise), np.where([True, False], noise, kinds)], axis=1)
    weights = fit_branch_weights(branches, classes, np.ones(len(classes)))
    assert weights == pytest.approx(np.array([[2.0, 0.0], [0.0, 2.0]]), abs=0.15)  # of a mean of two


def test_branch_weights_of_few_images_or_one_branch_are_one() -> None:
    kinds, classes = sample_calibrated(np.random.default_rng(12), 120)
    two = np.stack([kinds, kinds], axis=1)
    assert (fit_branch_weights(two, classes, np.ones(120)) == np.ones((2, 2))).all()
    kinds, classes = sample_calibrated(np.random.default_rng(12), 2000)
    assert (fit_branch_weights(kinds[:, None], classes, np.ones(2000)) == np.ones((1, 2))).all()


def test_source_weights_give_classes_and_sources_their_shares() -> None:
    sources, labels = ["a"] * 6 + ["b"] * 2, np.array([0, 0, 0, 0, 1, 1, 0, 0])
    weights = source_weights(sources, labels, {"a": 1.0, "b": 3.0, "c": 9.0})
    assert weights.mean() == pytest.approx(1.0)
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())
    assert weights[6:].sum() == pytest.approx(3 * weights[:4].sum())


def test_calibration_uses_the_weights_of_images() -> None:
    """Images twice as heavy count as two of them."""
    rng = np.random.default_rng(13)
    kinds, classes = sample_calibrated(rng, 3000)
    twice = rng.random(3000) < 0.5
    weights, copies = np.where(twice, 2.0, 1.0), np.repeat(np.arange(3000), np.where(twice, 2, 1))
    weighted, copied = (
        fit_vector_scaling(kinds * 2, classes, weights),
        fit_vector_scaling(kinds[copies] * 2, classes[copies]),
    )
    assert weighted.weights == pytest.approx(copied.weights, rel=1e-3)
    assert weighted.offsets == pytest.approx(copied.offsets, abs=1e-3)
    logits, labels = kinds[:, 0], (classes > 0).astype(np.int64)
    one = fit_platt_scaling(logits, labels, weights=weights / weights.mean())
    two = fit_platt_scaling(logits[copies], labels[copies])
    assert (one.temperature, one.offset) == pytest.approx((two.temperature, two.offset), rel=1e-2, abs=1e-2)
