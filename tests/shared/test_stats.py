"""AUCs, shares and their intervals, compared with scikit-learn, with resampling and with the numbers of version 0.1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from deepfake_detector.stats import (
    Estimate,
    auc,
    auc_difference,
    compared_rows,
    cross_validated_auc,
    estimate_auc,
    estimate_mean,
    estimate_mean_auc,
    estimate_proportion,
    estimate_proportion_of,
    mean_auc,
    mean_auc_difference,
    percentile_interval,
    proportion_difference,
    stratified_bootstrap,
)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LABELS = np.tile([0, 1], 200).astype(np.int64)


def noisy_scores(noise: float, seed: int) -> Floats:
    """Scores in 0..1 of LABELS; more noise gives a lower AUC."""
    return np.clip(0.3 + 0.4 * LABELS + np.random.default_rng(seed).normal(0, noise, len(LABELS)), 0, 1)


def normal_scores(rng: np.random.Generator, n: int, shift: float) -> tuple[Floats, Integers]:
    """Scores of two normal distributions `shift` deviations apart, and their labels."""
    labels = np.arange(n) % 2
    return rng.normal(labels * shift), labels


def known_auc(scores: Floats, labels: Integers) -> Estimate:
    found = estimate_auc(scores, labels)
    assert found is not None
    return found


def half_width(estimate: Estimate) -> float:
    """The standard error that a 95 % interval implies."""
    return (estimate.high - estimate.low) / 2 / 1.96


def tied_scores() -> tuple[Floats, Floats, Integers]:
    """Two models' rounded scores of the same 200 pictures."""
    rng = np.random.default_rng(0)
    labels = np.arange(200, dtype=np.int64) % 2
    ours, theirs = rng.normal(0, 1, 200) + labels, rng.normal(0, 1, 200) + 1.2 * labels
    return ours.round(1), theirs.round(1), labels


def test_the_numbers_are_those_of_version_0_1() -> None:
    ours, theirs, labels = tied_scores()
    pairs = np.arange(200) // 2
    assert auc(ours, labels) == 0.8041
    assert estimate_auc(ours, labels) == Estimate(0.8040999999999999, 0.7379051676637994, 0.8568205427519949)
    assert cross_validated_auc(ours, labels, pairs % 5, pairs) == Estimate(
        0.80425, 0.7474025965070501, 0.8610974034929499
    )
    assert str(auc_difference(ours, theirs, labels)) == "-0.0128, 95 % interval -0.1053 to +0.0657"
    assert str(proportion_difference(ours > 0.5, theirs > 0.5)) == "-0.0250, 95 % interval -0.1150 to +0.0650"


def test_a_proportion_of_nothing_is_unknown() -> None:
    assert estimate_proportion(0, 0) == Estimate(0.0, 0.0, 1.0)
    assert estimate_proportion_of(np.array([], bool)) is None


def test_a_perfect_proportion_of_few_is_not_certain() -> None:
    assert estimate_proportion(10, 10).low == pytest.approx(0.722, abs=0.001)  # Wilson's, computed elsewhere
    half = estimate_proportion_of(np.array([True, False]))
    assert half is not None
    assert half.value == 0.5


def test_the_interval_of_a_mean_shrinks_with_the_root_of_the_number() -> None:
    rng = np.random.default_rng(3)
    few, many = estimate_mean(rng.normal(5, 1, 100)), estimate_mean(rng.normal(5, 1, 10_000))
    assert half_width(few) / half_width(many) == pytest.approx(10, rel=0.2)
    assert many.low < 5 < many.high


def test_resamples_keep_the_class_counts() -> None:
    labels = np.array([0] * 7 + [1] * 3)
    for rows in stratified_bootstrap(labels, 20, seed=1):
        assert (labels[rows] == 1).sum() == 3
    assert percentile_interval(np.arange(1001.0), 500.0) == Estimate(500.0, 25.0, 975.0)


@pytest.mark.parametrize("decimals", [1, 2, 16])  # few decimals: many ties
def test_auc_equals_scikit_learns(decimals: int) -> None:
    scores = np.round(noisy_scores(0.3, 4), decimals)
    assert auc(scores, LABELS) == pytest.approx(roc_auc_score(LABELS, scores), abs=1e-12)
    assert known_auc(scores, LABELS).value == pytest.approx(auc(scores, LABELS), abs=1e-15)


def test_auc_counts_ties_half() -> None:
    assert auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([0, 0, 1, 1])) == 3.5 / 4


def test_auc_of_one_class_is_unknown() -> None:
    assert estimate_auc(np.array([0.2, 0.9]), np.array([1, 1])) is None


def test_the_interval_of_an_auc_has_its_nominal_coverage() -> None:
    rng = np.random.default_rng(2)
    labels, hits, truth = np.repeat([0, 1], 60), 0, 0.9214  # of two normal distributions two deviations apart
    for _ in range(400):
        found = known_auc(rng.normal(0, 1, 120) + 2.0 * labels, labels)
        hits += found.low <= truth <= found.high
    assert 370 <= hits <= 394


def test_a_perfect_order_of_few_is_not_certain() -> None:
    found = known_auc(np.arange(20) / 20, np.repeat([0, 1], 10))
    assert found.value == found.high == 1.0
    assert found.low == estimate_proportion(10, 10).low
    reversed_order = known_auc(-np.arange(20) / 20, np.repeat([0, 1], 10))
    assert (reversed_order.value, reversed_order.low) == (0.0, 0.0)
    assert reversed_order.high == pytest.approx(1 - found.low)


@pytest.mark.parametrize("shift", [0.0, 0.7, 2.0])
def test_cross_validated_auc_of_one_fold_is_the_auc(shift: float) -> None:
    scores, labels = normal_scores(np.random.default_rng(1), 301, shift)
    for values in (scores, scores.round(), -scores):
        found = cross_validated_auc(values, labels, np.zeros(301, int), np.arange(301))
        assert found.value == pytest.approx(roc_auc_score(labels, values))
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_scores_of_different_folds_are_not_compared() -> None:
    rng = np.random.default_rng(2)
    scores, labels = normal_scores(rng, 1000, 1.0)
    folds = rng.integers(0, 5, 1000)
    shifted = scores + 100 * folds
    a, b = (cross_validated_auc(s, labels, folds, np.arange(1000)) for s in (scores, shifted))
    assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high))
    assert roc_auc_score(labels, shifted) < a.low


def assert_width_matches_spread(found: list[Estimate]) -> None:
    """The intervals of a bounded value are cut at 1: the widths of high ones are a little smaller."""
    spread = np.std([estimate.value for estimate in found])
    assert np.mean([half_width(estimate) for estimate in found]) == pytest.approx(spread, rel=0.15)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_the_cross_validated_interval_is_as_wide_as_the_spread_of_fresh_data(shift: float) -> None:
    rng = np.random.default_rng(3)
    assert_width_matches_spread([
        cross_validated_auc(*normal_scores(rng, 200, shift), np.arange(200) // 2 % 5, np.arange(200))
        for _ in range(400)
    ])  # fmt: skip


def test_pictures_of_one_group_count_as_one_observation() -> None:
    rng = np.random.default_rng(4)
    grouped, ungrouped = [], []
    for _ in range(300):
        scores, labels = normal_scores(rng, 40, 1.0)
        scores, labels, groups = np.repeat(scores, 10), np.repeat(labels, 10), np.repeat(np.arange(40), 10)
        grouped.append(cross_validated_auc(scores, labels, np.zeros(400, int), groups))
        ungrouped.append(cross_validated_auc(scores, labels, np.zeros(400, int), np.arange(400)))
    assert_width_matches_spread(grouped)
    assert np.mean([half_width(e) for e in ungrouped]) < 0.5 * np.std([e.value for e in ungrouped])


def test_a_group_may_hold_both_classes() -> None:
    # A video and its fake: where their scores rise and fall together, the AUC is surer than it looks.
    rng = np.random.default_rng(5)

    def correlated() -> Iterator[Estimate]:
        for _ in range(300):
            shared = np.repeat(rng.normal(size=60), 2)
            labels = np.arange(120) % 2
            scores = shared + 0.4 * rng.normal(size=120) + 0.8 * labels
            yield cross_validated_auc(scores, labels, np.zeros(120, int), np.arange(120) // 2)

    assert_width_matches_spread(list(correlated()))


def test_an_estimate_prints_value_and_interval() -> None:
    labels = np.array([0, 1, 0, 1])
    found = cross_validated_auc(labels.astype(float), labels, np.zeros(4, int), np.arange(4))
    assert str(found) == "1.000 [1.000, 1.000]"


def test_the_interval_of_an_auc_difference_is_that_of_resampled_pictures() -> None:
    ours, theirs = noisy_scores(0.25, 5), noisy_scores(0.3, 6)
    rng = np.random.default_rng(1)
    resampled = []
    for _ in range(300):
        rows = np.concatenate([rng.choice(np.flatnonzero(y == LABELS), 200) for y in (0, 1)])
        resampled.append(roc_auc_score(LABELS[rows], ours[rows]) - roc_auc_score(LABELS[rows], theirs[rows]))
    found = auc_difference(ours, theirs, LABELS)
    assert (found.low, found.high) == pytest.approx(np.quantile(resampled, (0.025, 0.975)), abs=0.01)
    assert found.low < found.value < found.high


def test_a_model_does_not_differ_from_itself() -> None:
    scores = noisy_scores(0.3, 7)
    found = auc_difference(scores, scores, LABELS)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    correct = (scores > 0.5) == (LABELS == 1)
    found = proportion_difference(correct, correct)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_the_interval_of_a_proportion_difference_is_that_of_resampled_pictures() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = rng.random(300) < 0.9, rng.random(300) < 0.85
    gap = ours.astype(int) - theirs.astype(int)
    resampled = [gap[rng.integers(0, 300, 300)].mean() for _ in range(4000)]
    found = proportion_difference(ours, theirs)
    assert found.value == pytest.approx(gap.mean())
    assert (found.low, found.high) == pytest.approx(np.quantile(resampled, (0.025, 0.975)), abs=0.006)


def test_more_confidence_gives_a_wider_interval_and_is_printed() -> None:
    ours, theirs = noisy_scores(0.3, 1) > 0.5, noisy_scores(0.3, 2) > 0.5
    narrow, wide = proportion_difference(ours, theirs), proportion_difference(ours, theirs, 0.995)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert "95 % interval" in str(narrow)
    assert "99.5 % interval" in str(wide)


def test_the_same_scores_give_the_same_interval_every_time() -> None:
    ours, theirs = noisy_scores(0.3, 1), noisy_scores(0.3, 2)
    assert auc_difference(ours, theirs, LABELS) == auc_difference(ours, theirs, LABELS)


def mean_auc_case() -> tuple[Floats, Integers, list[Integers], Integers]:
    """Two sources of fakes, 30 and 200, each against the same 100 reals."""
    labels = np.array([0] * 100 + [1] * 230, np.int64)
    scores = np.random.default_rng(5).normal(0, 1, 330) + np.array([0.0] * 100 + [2.0] * 30 + [0.5] * 200)
    subsets = [np.r_[0:130], np.r_[0:100, 130:330]]
    return scores, labels, subsets, np.array([0] * 100 + [1] * 30 + [2] * 200, np.int64)


def test_each_subset_has_the_same_weight_in_a_mean_auc() -> None:
    scores, labels, subsets, strata = mean_auc_case()
    expected = np.mean([roc_auc_score(labels[rows], scores[rows]) for rows in subsets])
    assert mean_auc(scores, labels, subsets) == pytest.approx(expected)
    found = estimate_mean_auc(scores, labels, subsets, strata)
    assert found.value == pytest.approx(expected)
    assert found.low < found.value < found.high
    assert found == estimate_mean_auc(scores, labels, subsets, strata)


def test_the_interval_of_a_mean_auc_of_one_subset_is_near_delongs() -> None:
    scores, labels, subsets, strata = mean_auc_case()
    bootstrap, delong = (
        estimate_mean_auc(scores, labels, subsets[1:], strata),
        known_auc(scores[subsets[1]], labels[subsets[1]]),
    )
    assert half_width(bootstrap) == pytest.approx(half_width(delong), rel=0.2)


def test_the_difference_of_mean_aucs_is_paired() -> None:
    scores, labels, subsets, strata = mean_auc_case()
    same = mean_auc_difference(scores, scores, labels, subsets, strata)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    worse = mean_auc_difference(scores - labels, scores, labels, subsets, strata)
    assert worse.high < 0
    assert worse.value == pytest.approx(
        mean_auc(scores - labels, labels, subsets) - mean_auc(scores, labels, subsets)
    )  # fmt: skip
    assert half_width(worse) < half_width(estimate_mean_auc(scores, labels, subsets, strata)) * 2


def test_pictures_of_one_class_are_compared_with_the_other_class_of_the_rest() -> None:
    labels = np.array([0, 1, 1, 0, 1])
    assert compared_rows(labels, np.array([True, True, False, False, False])).tolist() == [0, 1]
    assert compared_rows(labels, np.array([False, True, True, False, False])).tolist() == [0, 1, 2, 3]
    assert compared_rows(labels, np.array([True, False, False, True, False])).tolist() == [0, 1, 2, 3, 4]
