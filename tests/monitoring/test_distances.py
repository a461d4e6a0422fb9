"""Distances against their definitions and against SciPy; what chance does to them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from deepfake_detector.monitoring import distances
from deepfake_detector.monitoring.distances import (
    Floats,
    category_distances,
    chi_square_p_value,
    effective_size,
    holm,
    ks_distance,
    ks_p_value,
    numeric_distances,
    population_stability,
)


def samples(n: int = 400, m: int = 300, seed: int = 1) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    return np.sort(rng.normal(0, 1, n)), np.sort(rng.normal(0.3, 1.2, m))


def test_equal_weights_give_scipys_two_sample_test() -> None:
    stream, reference = samples()
    expected = scipy_stats.ks_2samp(stream, reference, method="asymp")
    distance = ks_distance(stream, reference, np.full(300, 0.7))
    assert distance == pytest.approx(expected.statistic, abs=1e-12)
    assert ks_p_value(distance, 400, 300) == pytest.approx(expected.pvalue, rel=0.08)


@pytest.mark.parametrize("p_value", [0.5, 0.05, 0.01, 1e-4, 1e-6])
@pytest.mark.parametrize("sizes", [(200, 300), (250, 3000), (100_000, 5000)])
def test_p_values_are_those_of_the_exact_distribution(p_value: float, sizes: tuple[int, int]) -> None:
    size = round(sizes[0] * sizes[1] / sum(sizes))
    distance = float(scipy_stats.kstwo.isf(p_value, size))
    assert ks_p_value(distance, *sizes) == pytest.approx(p_value, rel=0.08)


def test_a_weight_of_two_is_a_value_that_occurs_twice() -> None:
    stream, reference = samples()
    weights = np.where(reference > 0, 2.0, 1.0)
    repeated = np.sort(np.repeat(reference, weights.astype(int)))
    assert ks_distance(stream, reference, weights) == pytest.approx(scipy_stats.ks_2samp(stream, repeated).statistic)
    ours = numeric_distances(stream, reference, weights, np.random.default_rng(0), 0)
    theirs = numeric_distances(stream, repeated, np.ones(len(repeated)), np.random.default_rng(0), 0)
    assert ours.wasserstein.value == pytest.approx(theirs.wasserstein.value)
    assert ours.psi.value == pytest.approx(theirs.psi.value)


def test_a_shift_by_one_deviation_is_a_wasserstein_distance_of_one() -> None:
    reference = np.sort(np.random.default_rng(2).normal(100, 20, 2000))
    found = numeric_distances(reference + reference.std(), reference, np.ones(2000), np.random.default_rng(0), 200)
    assert found.wasserstein.value == pytest.approx(1.0)
    assert found.wasserstein.low < 1.0 < found.wasserstein.high
    assert found.wasserstein.high - found.wasserstein.low < 0.15


def test_the_population_stability_index_is_its_sum() -> None:
    ours, theirs = np.array([0.2, 0.3, 0.5]), np.array([0.4, 0.4, 0.2])
    expected = sum((a - e) * np.log(a / e) for a, e in zip(ours, theirs, strict=True))
    assert population_stability(ours, theirs) == pytest.approx(expected)
    assert np.isfinite(population_stability(np.array([1.0, 0.0]), np.array([0.5, 0.5])))


def test_an_interval_holds_its_value_and_the_distance_of_the_populations() -> None:
    """Of two normal distributions 0.5 deviations apart: 2 Phi(0.25) - 1."""
    truth, rng, covered = 2 * scipy_stats.norm.cdf(0.25) - 1, np.random.default_rng(3), 0
    for _ in range(60):
        stream, reference = rng.normal(0, 1, 500), np.sort(rng.normal(0.5, 1, 800))
        ks = numeric_distances(stream, reference, np.ones(800), rng, 100).ks
        assert ks.low <= ks.value <= ks.high
        covered += ks.low <= truth <= ks.high
    assert covered >= 52


def test_equal_distributions_have_an_interval_that_reaches_zero() -> None:
    rng = np.random.default_rng(4)
    ks = numeric_distances(rng.normal(0, 1, 500), np.sort(rng.normal(0, 1, 500)), np.ones(500), rng, 200).ks
    assert ks.low < 0.03


def test_a_constant_reference_and_stream_are_no_failure() -> None:
    same = numeric_distances(np.full(300, 5.0), np.full(300, 5.0), np.ones(300), np.random.default_rng(0), 50)
    assert (same.ks.value, same.wasserstein.value, same.psi.value, same.p_value) == (0.0, 0.0, 0.0, 1.0)
    other = numeric_distances(np.full(300, 7.0), np.full(300, 5.0), np.ones(300), np.random.default_rng(0), 50)
    assert other.ks.value == 1.0
    assert other.wasserstein.value == 2.0
    assert other.p_value < 1e-6


def test_shares_of_categories() -> None:
    stream, reference = np.array([80.0, 120.0]), np.array([150.0, 150.0])
    found = category_distances(stream, reference, 300, np.random.default_rng(0), 500)
    assert found.total_variation.value == pytest.approx(0.1)
    table = np.stack([stream, reference])
    assert found.p_value == pytest.approx(scipy_stats.chi2_contingency(table, correction=False).pvalue)


def test_rare_categories_are_joined() -> None:
    """Chi-square's distribution holds from five expected answers per cell."""
    rng, level = np.random.default_rng(5), 0
    shares = np.array([0.9, 0.08, 0.01, 0.007, 0.003])
    for _ in range(500):
        ours, theirs = (rng.multinomial(n, shares).astype(float) for n in (250, 400))
        level += chi_square_p_value(ours, theirs) < 0.05
    assert level <= 40
    assert chi_square_p_value(np.array([300.0, 0.0, 0.0]), np.array([200.0, 0.0, 0.0])) == 1.0


def test_holms_correction_by_hand() -> None:
    adjusted = holm(np.array([0.01, np.nan, 0.04, 0.03, 0.5]))
    assert adjusted[[0, 3, 2, 4]] == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert np.isnan(adjusted[1])


def test_the_size_of_a_weighted_sample() -> None:
    assert effective_size(np.full(50, 3.0)) == pytest.approx(50)
    assert effective_size(np.array([1.0, 1e-9])) == pytest.approx(1.0)


def test_a_million_answers_take_no_longer_to_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = list[int]()
    original = distances._resampled

    def counted(stream: Floats, *rest: object) -> tuple[Floats, Floats]:
        drawn.append(len(stream))
        return original(stream, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(distances, "_resampled", counted)
    rng = np.random.default_rng(6)
    numeric_distances(rng.normal(0, 1, 200_000), np.sort(rng.normal(0, 1, 5000)), np.ones(5000), rng, 50)
    assert max(drawn) <= distances.FINE_BINS
