"""Figures and their intervals."""

import numpy as np
import pytest

from deepfake_detector.evaluation.metrics import calibration_error, measure, reliability
from deepfake_detector.stats import Estimate


def test_a_small_case_worked_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    p = np.array([0.1, 0.2, 0.7, 0.3, 0.6, 0.8, 0.9, 0.95])
    figures = measure(p, labels, resamples=200, bins=10)
    assert figures.confusion == {"true_real": 2, "false_fake": 1, "false_real": 1, "true_fake": 4}
    assert figures.accuracy.value == 6 / 8
    assert figures.precision.value == 4 / 5
    assert figures.recall.value == 4 / 5
    assert figures.f1.value == pytest.approx(0.8)
    assert figures.auc.value == pytest.approx(13 / 15)  # 15 pairs, (0.7 > 0.3) and (0.7 > 0.6) the wrong way round
    assert figures.brier == pytest.approx(np.mean((p - labels) ** 2))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        labels = np.repeat([0, 1], 100)
        p = np.where(rng.random(200) < 0.8, labels * 0.8 + 0.1, 0.9 - labels * 0.8)  # right 4 times out of 5
        accuracy = measure(p, labels, resamples=100, bins=5).accuracy
        hits += accuracy.low <= 0.8 <= accuracy.high
    assert 180 <= hits <= 199


def test_perfect_scores() -> None:
    labels = np.repeat([0, 1], 50)
    figures = measure(labels.astype(float), labels, resamples=100, bins=15)
    assert figures.accuracy.value == figures.auc.value == 1.0
    assert figures.accuracy.low < 1.0  # 100 pictures prove no perfection
    assert figures.ece == Estimate(0.0, 0.0, 0.0)
    assert np.isfinite(figures.nll)


def test_never_saying_fake_has_no_precision_and_does_not_crash() -> None:
    figures = measure(np.full(20, 0.2), np.repeat([0, 1], 10), resamples=100, bins=5)
    assert figures.precision == Estimate(0.0, 0.0, 1.0)
    assert figures.auc.value == 0.5


def test_calibration_error_of_a_known_bias() -> None:
    labels = np.array([1] * 50 + [0] * 50)
    assert calibration_error(np.full(100, 0.8), labels, 10) == pytest.approx(0.3)
    table = reliability(np.array([0.0, 1.0, 1.0]), np.array([0, 1, 1]), 4)
    assert table.tolist() == [[0.0, 0.0, 1.0], [1.0, 1.0, 2.0]]


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(5)
    p, labels = rng.random(80), rng.integers(0, 2, 80)
    assert measure(p, labels, 100, 10) == measure(p, labels, 100, 10)


def test_flat_names_every_bound() -> None:
    flat = measure(np.array([0.1, 0.9]), np.array([0, 1]), 100, 2).flat()
    assert {"accuracy", "accuracy_low", "accuracy_high", "auc", "ece", "images"} <= set(flat)


def test_the_interval_of_a_known_calibration_error_holds_it() -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(100):
        labels = (rng.random(400) < 0.6).astype(np.int64)
        found = measure(np.where(labels == 1, 0.8, 0.8), labels, resamples=100, bins=5).ece  # says 0.8, true is 0.6
        assert found.low <= found.value <= found.high
        hits += found.low <= 0.2 <= found.high
    assert hits >= 85


def test_pictures_of_one_class_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match="one class only"):
        measure(np.array([0.1, 0.9]), np.array([1, 1]), 100, 2)
