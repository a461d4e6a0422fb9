"""The area and its interval, against scikit-learn and against drawing the data anew."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deepfake_detector.stats import cross_validated_auc


def drawn(rng: np.random.Generator, n: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % 2
    return rng.normal(labels * shift), labels


def alone(n: int) -> np.ndarray:
    return np.arange(n)


@pytest.mark.parametrize("shift", [0.0, 0.7, 2.0])
def test_one_fold_gives_the_usual_area_ties_included(shift: float) -> None:
    scores, labels = drawn(np.random.default_rng(1), 301, shift)
    for values in (scores, scores.round(), -scores):
        auc = cross_validated_auc(values, labels, np.zeros(301, int), alone(301))
        assert auc.value == pytest.approx(roc_auc_score(labels, values))
        assert 0 <= auc.low <= auc.value <= auc.high <= 1


def test_scores_of_different_models_are_not_compared() -> None:
    rng = np.random.default_rng(2)
    scores, labels = drawn(rng, 1000, 1.0)
    folds = rng.integers(0, 5, 1000)
    moved = scores + 100 * folds
    a, b = (cross_validated_auc(s, labels, folds, alone(1000)) for s in (scores, moved))
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))
    assert roc_auc_score(labels, moved) < a.low


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_the_interval_is_as_wide_as_the_spread_of_fresh_data(shift: float) -> None:
    rng = np.random.default_rng(3)
    areas, widths = [], []
    for _ in range(400):
        scores, labels = drawn(rng, 200, shift)
        auc = cross_validated_auc(scores, labels, np.arange(200) // 2 % 5, alone(200))
        areas.append(auc.value)
        widths.append((auc.high - auc.low) / 2 / 1.96)
    # The interval of a bounded figure is cut at 1: the widths of strong ones are a little smaller.
    assert np.mean(widths) == pytest.approx(np.std(areas), rel=0.15)


def test_pictures_of_one_group_are_one_witness() -> None:
    rng = np.random.default_rng(4)
    areas, widths, blind = [], [], []
    for _ in range(300):
        scores, labels = drawn(rng, 40, 1.0)
        scores, labels, groups = (np.repeat(column, 10) for column in (scores, labels, np.arange(40)))
        auc, naive = (cross_validated_auc(scores, labels, np.zeros(400, int), g) for g in (groups, alone(400)))
        areas.append(auc.value)
        widths.append((auc.high - auc.low) / 2 / 1.96)
        blind.append((naive.high - naive.low) / 2 / 1.96)
    assert np.mean(widths) == pytest.approx(np.std(areas), rel=0.15)
    assert np.mean(blind) < 0.5 * np.std(areas)


def test_groups_may_hold_both_classes() -> None:
    # A video and its fake: where their scores rise and fall together, the area is surer than it looks.
    rng = np.random.default_rng(5)
    areas, widths = [], []
    for _ in range(300):
        mood = np.repeat(rng.normal(size=60), 2)
        labels = np.arange(120) % 2
        scores = mood + 0.4 * rng.normal(size=120) + 0.8 * labels
        auc = cross_validated_auc(scores, labels, np.zeros(120, int), np.arange(120) // 2)
        areas.append(auc.value)
        widths.append((auc.high - auc.low) / 2 / 1.96)
    assert np.mean(widths) == pytest.approx(np.std(areas), rel=0.15)


def test_it_reads_as_people_write_it() -> None:
    labels = np.array([0, 1, 0, 1])
    assert str(cross_validated_auc(labels.astype(float), labels, np.zeros(4, int), alone(4))) == "1.000 [1.000, 1.000]"
