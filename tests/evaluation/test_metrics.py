"""Classification, calibration and threshold metrics, checked against hand-computed cases and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake_detector.evaluation.metrics import (
    calibration_error,
    classification_metrics,
    compare_calibration,
    nll,
    reliability_curve,
    threshold_metrics,
)
from deepfake_detector.model.bundle import Thresholds
from deepfake_detector.stats import Estimate


def test_a_small_case_computed_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    p = np.array([0.1, 0.2, 0.7, 0.3, 0.6, 0.8, 0.9, 0.95])
    metrics = classification_metrics(p, labels, resamples=200, bins=10)
    assert metrics.confusion == {
        "true_negatives": 2, "false_positives": 1, "false_negatives": 1, "true_positives": 4,
    }  # fmt: skip
    assert metrics.accuracy.value == 6 / 8
    assert metrics.precision.value == 4 / 5
    assert metrics.recall.value == 4 / 5
    assert metrics.f1.value == pytest.approx(0.8)
    assert metrics.auc.value == pytest.approx(13 / 15)  # of 15 pairs, (0.7, 0.3) and (0.7, 0.6) are in the wrong order
    assert metrics.brier == pytest.approx(np.mean((p - labels) ** 2))


def test_the_interval_of_the_accuracy_has_its_nominal_coverage() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        labels = np.repeat([0, 1], 100)
        p = np.where(rng.random(200) < 0.8, labels * 0.8 + 0.1, 0.9 - labels * 0.8)  # 4 of 5 predictions are correct
        accuracy = classification_metrics(p, labels, resamples=100, bins=5).accuracy
        hits += accuracy.low <= 0.8 <= accuracy.high
    assert 180 <= hits <= 199


def test_perfect_scores() -> None:
    labels = np.repeat([0, 1], 50)
    metrics = classification_metrics(labels.astype(float), labels, resamples=100, bins=15)
    assert metrics.accuracy.value == metrics.auc.value == 1.0
    assert metrics.accuracy.low < 1.0  # 100 pictures do not prove perfection
    assert metrics.ece == Estimate(0.0, 0.0, 0.0)
    assert np.isfinite(metrics.nll)


def test_no_positive_prediction_gives_an_unknown_precision() -> None:
    metrics = classification_metrics(np.full(20, 0.2), np.repeat([0, 1], 10), resamples=100, bins=5)
    assert metrics.precision == Estimate(0.0, 0.0, 1.0)
    assert metrics.auc.value == 0.5


def test_one_class_cannot_be_measured() -> None:
    with pytest.raises(ValueError, match="one class only"):
        classification_metrics(np.array([0.1, 0.9]), np.array([1, 1]), 100, 2)


def test_the_same_seed_gives_the_same_intervals() -> None:
    rng = np.random.default_rng(5)
    p, labels = rng.random(80), rng.integers(0, 2, 80)
    assert classification_metrics(p, labels, 100, 10) == classification_metrics(p, labels, 100, 10)


def test_flat_names_both_ends_of_each_interval() -> None:
    flat = classification_metrics(np.array([0.1, 0.9]), np.array([0, 1]), 100, 2).flat()
    assert {"accuracy", "accuracy_low", "accuracy_high", "auc", "ece", "images"} <= set(flat)


def test_calibration_error_of_a_known_bias() -> None:
    labels = np.array([1] * 50 + [0] * 50)
    assert calibration_error(np.full(100, 0.8), labels, 10) == pytest.approx(0.3)
    curve = reliability_curve(np.array([0.0, 1.0, 1.0]), np.array([0, 1, 1]), 4)
    assert curve.tolist() == [[0.0, 0.0, 1.0], [1.0, 1.0, 2.0]]


def test_the_interval_of_a_known_calibration_error_holds_it() -> None:
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(100):
        labels = (rng.random(400) < 0.6).astype(np.int64)
        found = classification_metrics(np.full(400, 0.8), labels, resamples=100, bins=5).ece  # predicted 0.8, true 0.6
        assert found.low <= found.value <= found.high
        hits += found.low <= 0.2 <= found.high
    assert hits >= 85


def test_calibration_lowers_every_error_of_overconfident_scores() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 4000)
    p, overconfident = 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-3 * logits))
    labels = (rng.random(4000) < p).astype(np.int64)
    found = compare_calibration("all", overconfident, p, labels, bins=15, resamples=50)
    assert found.after.ece.high < found.before.ece.low
    assert found.after.nll < found.before.nll
    assert found.after.brier < found.before.brier
    assert found.after.ece.value == calibration_error(p, labels, 15)
    assert found.before.nll == nll(overconfident, labels)
    assert found.images == 4000


def test_equal_probabilities_have_equal_errors() -> None:
    p = np.array([0.2, 0.9, 0.6])
    found = compare_calibration("all", p, p, np.array([0, 1, 1]), 5, 20)
    assert found.before == found.after


def test_threshold_metrics_counted_by_hand() -> None:
    p = np.array([0.05, 0.20, 0.50, 0.75, 0.10, 0.60, 0.80, 0.95])
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    found = threshold_metrics(p, labels, Thresholds(clear=0.3, flag=0.7, strict=0.9))
    assert found.coverage.value == 6 / 8  # 0.50 and 0.60 are inconclusive
    assert found.selective_accuracy.value == 4 / 6
    assert (found.true_positive_rate.value, found.false_positive_rate.value) == (2 / 4, 1 / 4)
    assert (found.true_positive_rate_at_strict.value, found.false_positive_rate_at_strict.value) == (1 / 4, 0.0)
    assert found.false_negative_rate_at_clear.value == 1 / 4


def test_flag_is_compared_before_clear() -> None:
    """A score that reaches both thresholds, which may be equal, is a fake."""
    found = threshold_metrics(np.array([0.5, 0.4]), np.array([1, 0]), Thresholds(clear=0.5, flag=0.5, strict=0.5))
    assert found.coverage.value == found.selective_accuracy.value == found.true_positive_rate.value == 1.0


def test_selective_accuracy_of_no_answers_is_unknown() -> None:
    found = threshold_metrics(np.full(4, 0.5), np.array([0, 0, 1, 1]), Thresholds(clear=0.1, flag=0.9, strict=0.95))
    assert found.coverage.value == 0.0
    assert (found.selective_accuracy.low, found.selective_accuracy.high) == (0.0, 1.0)
