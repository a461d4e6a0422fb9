"""Figures and their intervals."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deepfake_detector.stats import Estimate, auc, between, draw, mean, share, share_of


def test_a_share_of_nothing_is_unknown() -> None:
    assert share(0, 0) == Estimate(0.0, 0.0, 1.0)
    assert share_of(np.array([], bool)) is None


def test_a_perfect_share_of_few_is_not_certain() -> None:
    assert share(10, 10).low == pytest.approx(0.722, abs=0.001)  # Wilson's, worked elsewhere
    assert share_of(np.array([True, False])).value == 0.5


def test_auc_counts_pairs_and_halves_ties() -> None:
    p, labels = np.array([0.1, 0.4, 0.4, 0.9]), np.array([0, 0, 1, 1])
    assert auc(p, labels).value == 3.5 / 4
    rng = np.random.default_rng(1)
    p, labels = np.round(rng.random(300), 1), rng.integers(0, 2, 300)
    assert auc(p, labels).value == pytest.approx(roc_auc_score(labels, p), abs=1e-12)


def test_auc_of_one_class_is_unknown() -> None:
    assert auc(np.array([0.2, 0.9]), np.array([1, 1])) is None


def test_intervals_of_auc_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    labels, hits, truth = np.repeat([0, 1], 60), 0, 0.9214  # of two normal distributions two deviations apart
    for _ in range(400):
        found = auc(rng.normal(0, 1, 120) + 2.0 * labels, labels)
        hits += found.low <= truth <= found.high
    assert 370 <= hits <= 394


def test_a_perfect_order_of_few_is_not_certain() -> None:
    found = auc(np.arange(20) / 20, np.repeat([0, 1], 10))
    assert found.value == found.high == 1.0
    assert found.low == share(10, 10).low
    upside_down = auc(-np.arange(20) / 20, np.repeat([0, 1], 10))
    assert (upside_down.value, upside_down.low) == (0.0, 0.0)
    assert upside_down.high == pytest.approx(1 - found.low)


def test_the_interval_of_a_mean_shrinks_with_the_root_of_the_number() -> None:
    rng = np.random.default_rng(3)
    few, many = mean(rng.normal(5, 1, 100)), mean(rng.normal(5, 1, 10_000))
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(10, rel=0.2)
    assert many.low < 5 < many.high


def test_draws_keep_the_classes() -> None:
    labels = np.array([0] * 7 + [1] * 3)
    for rows in draw(labels, 20, seed=1):
        assert (labels[rows] == 1).sum() == 3
    assert between(np.arange(1001.0), 500.0) == Estimate(500.0, 25.0, 975.0)
