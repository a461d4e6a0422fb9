from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.model.bundle_contract import Thresholds
from deepfake_detector.model.operating_points import (
    ErrorRates,
    expit,
    fit_thresholds,
    keep_starting_thresholds,
    threshold_at_rate,
)

RATES = ErrorRates(flag_false_positives=0.01, strict_false_positives=0.001, clear_false_negatives=0.01)
ONE_SOURCE = ["faces"]


def test_thresholds_meet_the_target_error_rates() -> None:
    rng = np.random.default_rng(2)
    p = np.concatenate([rng.uniform(0, 0.9, 10_000), rng.uniform(0.3, 1, 10_000)])
    labels = np.repeat([0, 1], 10_000)
    thresholds = fit_thresholds(p, labels, ONE_SOURCE * 20_000, RATES)
    assert (p[labels == 0] >= thresholds.flag).sum() == 100
    assert (p[labels == 0] >= thresholds.strict).sum() == 10
    assert 99 <= (p[labels == 1] <= thresholds.clear).sum() <= 101
    assert thresholds.clear < 0.5 < thresholds.flag < thresholds.strict


def test_separable_classes_leave_nothing_inconclusive() -> None:
    p = np.concatenate([np.full(200, 0.01), np.full(200, 0.99)])
    thresholds = fit_thresholds(p, np.repeat([0, 1], 200), ONE_SOURCE * 400, RATES)
    assert (thresholds.clear, thresholds.flag, thresholds.strict) == (0.5, 0.5, 0.5)


def test_inverted_classes_are_all_inconclusive() -> None:
    p = np.concatenate([np.linspace(0.5, 1, 200), np.linspace(0, 0.5, 200)])
    thresholds = fit_thresholds(p, np.repeat([0, 1], 200), ONE_SOURCE * 400, RATES)
    assert thresholds.flag > 0.98
    assert thresholds.clear < 0.02


def two_sources(small: int) -> tuple[NDArray[np.float64], NDArray[np.int64], list[str]]:
    """2,000 easy reals and fakes of one source; of another, `small` of each that are harder by 3 in the logit."""
    rng = np.random.default_rng(5)
    easy = [rng.normal(-4, 1, 2000), rng.normal(4, 1, 2000)]
    hard = [rng.normal(-1, 1, small), rng.normal(1, 1, small)]
    logits = np.concatenate([easy[0], hard[0], easy[1], hard[1]])
    labels = np.repeat([0, 1], 2000 + small)
    return expit(logits), labels, (["easy"] * 2000 + ["hard"] * small) * 2


def test_the_worst_source_sets_flag_and_the_mean_of_the_sources_clear() -> None:
    p, labels, groups = two_sources(1000)
    thresholds = fit_thresholds(p, labels, groups, RATES)
    of_hard = np.array(groups) == "hard"
    assert (p[(labels == 0) & of_hard] >= thresholds.flag).mean() == pytest.approx(0.01)
    rates = [(p[(labels == 1) & rows] <= thresholds.clear).mean() for rows in (of_hard, ~of_hard)]
    assert np.mean(rates) == pytest.approx(0.01, abs=0.0011)
    assert rates[0] > 0.015
    pooled = fit_thresholds(p, labels, ["all"] * len(p), RATES)
    assert (p[(labels == 0) & of_hard] >= pooled.flag).mean() > 0.02
    assert thresholds.flag > pooled.flag
    assert thresholds.clear < pooled.clear
    assert thresholds.clear <= thresholds.flag <= thresholds.strict


def test_a_small_source_counts_in_the_pool_alone() -> None:
    p, labels, groups = two_sources(49)
    assert fit_thresholds(p, labels, groups, RATES) == fit_thresholds(p, labels, ["all"] * len(p), RATES)
    p, labels, groups = two_sources(50)
    assert fit_thresholds(p, labels, groups, RATES) != fit_thresholds(p, labels, ["all"] * len(p), RATES)
    one_score_each = fit_thresholds(p, labels, groups, RATES, copies=1)
    assert fit_thresholds(p, labels, groups, RATES, copies=4) != one_score_each  # 13 files only


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_of_few_scores_holds_for_the_next_ones(seed: int) -> None:
    """Of 60 scores none lies above the quantile of 0.1 %; the highest of them would let 1.6 % through."""
    rng = np.random.default_rng(seed)
    thresholds = [threshold_at_rate(expit(rng.normal(0, 1.5, 60)), 0.001) for _ in range(200)]
    passed = np.mean([(expit(rng.normal(0, 1.5, 2000)) >= threshold).mean() for threshold in thresholds])
    assert 0.0002 < passed < 0.003


def test_thresholds_are_probabilities_in_extreme_cases() -> None:
    assert threshold_at_rate(np.array([]), 0.01) == 0.0
    assert threshold_at_rate(np.ones(300), 0.01) == pytest.approx(1.0)
    assert threshold_at_rate(np.zeros(300), 0.01) <= 1e-6
    assert threshold_at_rate(np.full(3, 0.4), 1.0) == 0.0
    assert 0.4 < threshold_at_rate(np.full(3, 0.4), 0.0) < 0.41
    assert 0 < threshold_at_rate(np.linspace(0, 1, 300), 0.0) <= 1


def test_few_files_decide_no_more_than_the_thresholds_before() -> None:
    start, fitted = Thresholds(clear=0.1, flag=0.9, strict=0.99), Thresholds(clear=0.5, flag=0.5, strict=0.5)
    few, many = np.repeat([0, 1], 49), np.repeat([0, 1], 50)
    assert keep_starting_thresholds(fitted, start, few) == start
    assert keep_starting_thresholds(fitted, start, many) == fitted
    assert keep_starting_thresholds(fitted, start, np.repeat([0, 1], [50, 49])) == Thresholds(
        clear=0.1, flag=0.5, strict=0.5
    )
    careful = Thresholds(clear=0.01, flag=0.95, strict=0.999)
    assert keep_starting_thresholds(careful, start, few) == careful
