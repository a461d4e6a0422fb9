"""Figures and their intervals."""

import numpy as np
import pytest

from deepfake_detector.evidence.metrics import Estimate, calibration_error, measure, measure_slices, reliability


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
    assert figures.ece == 0.0
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


def test_each_source_by_itself_as_if_it_were_alone() -> None:
    rng = np.random.default_rng(2)
    p, labels = rng.random(60), rng.integers(0, 2, 60)
    sources = ["a"] * 40 + ["b"] * 20
    slices = measure_slices(p, labels, sources, resamples=100)
    alone = measure(p[:40], labels[:40], resamples=100, bins=5)
    assert (slices["a"].images, slices["a"].accuracy, slices["a"].auc) == (40, alone.accuracy, alone.auc)
    assert slices["b"].images == 20


def test_a_source_of_one_class_has_no_auc() -> None:
    found = measure_slices(np.array([0.9, 0.2, 0.4]), np.array([1, 1, 0]), ["swaps", "swaps", "x"], 100)
    assert found["swaps"].accuracy.value == 0.5
    assert found["swaps"].auc is None
    assert "auc" not in found["swaps"].as_dict()
    assert "accuracy" in found["swaps"].as_dict()
