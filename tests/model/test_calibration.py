"""Scale and thresholds from validation scores."""

from pathlib import Path

import numpy as np
import pytest

from deepfake_detector.config import Evaluate, read_settings
from deepfake_detector.model.calibration import fit_balance, fit_scale, fit_thresholds, probabilities


@pytest.fixture
def settings() -> Evaluate:
    return read_settings(Path(__file__).parents[2] / "params.yaml").evaluate


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("offset", [-1.5, 0.0, 0.7])
def test_a_known_scale_is_found(temperature: float, offset: float) -> None:
    rng = np.random.default_rng(1)
    honest = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < probabilities(honest, 1.0)).astype(np.int64)
    scale = fit_scale(honest * temperature - offset, labels)
    assert scale.temperature == pytest.approx(temperature, rel=0.05)
    assert scale.offset == pytest.approx(offset, abs=0.06 * temperature)


def test_classes_far_apart_have_a_scale_between_them() -> None:
    scale = fit_scale(np.concatenate([np.full(200, 3.0), np.full(200, 5.0)]), np.repeat([0, 1], 200))
    assert scale.offset == pytest.approx(-4.0, abs=0.1)
    assert 0.05 <= scale.temperature < 1
    p = probabilities(np.array([3.0, 5.0]) + scale.offset, scale.temperature)
    assert 0.001 < p[0] < 0.01  # Platt: 200 pictures prove no certainty
    assert 0.99 < p[1] < 0.999


def test_scores_upside_down_stay_within_the_bounds() -> None:
    logits = np.random.default_rng(3).normal(0, 3, 500)
    scale = fit_scale(logits, (logits < 0).astype(np.int64))
    assert scale.temperature == pytest.approx(20.0)


def spoken(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Honest logits (n, 2) of two kinds against real, and classes (n,) drawn by them."""
    kinds = rng.normal(0, 2, (n, 2))
    odds = np.exp(np.column_stack([np.zeros(n), kinds]))
    heights = rng.random(n) * odds.sum(axis=1)
    return kinds, (heights[:, None] > odds.cumsum(axis=1)).sum(axis=1)


def test_a_kind_that_speaks_too_loudly_is_lowered_and_one_that_leans_is_moved() -> None:
    honest, classes = spoken(np.random.default_rng(4), 20_000)
    said = honest * [0.5, 2.0] - [0.7, 0.0]
    balance = fit_balance(said, classes)
    assert balance.weights == pytest.approx((2.0, 0.5), rel=0.06)
    assert balance.of(said) == pytest.approx(honest, abs=0.5)
    assert balance.undone(balance.of(said)) == pytest.approx(said)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_class_hardly_seen_changes_nothing(missing: int) -> None:
    kinds, classes = spoken(np.random.default_rng(5), 1000)
    rare = np.flatnonzero(classes == missing)[10:]
    balance = fit_balance(np.delete(kinds, rare, axis=0), np.delete(classes, rare))
    assert (balance.weights, balance.offsets) == ((1.0, 1.0), (0.0, 0.0))


def test_one_kind_needs_no_balance() -> None:
    balance = fit_balance(np.random.default_rng(6).normal(0, 3, (500, 1)), np.repeat([0, 1], 250))
    assert (balance.weights, balance.offsets) == ((1.0,), (0.0,))


def test_flag_lets_through_as_many_real_ones_as_allowed(settings: Evaluate) -> None:
    rng = np.random.default_rng(2)
    p = np.concatenate([rng.uniform(0, 0.9, 1000), rng.uniform(0.3, 1, 1000)])
    labels = np.repeat([0, 1], 1000)
    thresholds = fit_thresholds(p, labels, settings)
    assert (p[labels == 0] >= thresholds.flag).sum() == 10
    assert (p[labels == 0] >= thresholds.strict).sum() == 1
    assert (p[labels == 1] <= thresholds.clear).sum() <= 11
    assert thresholds.clear < 0.5 < thresholds.flag < thresholds.strict


def test_classes_far_apart_leave_nothing_inconclusive(settings: Evaluate) -> None:
    p = np.concatenate([np.full(200, 0.01), np.full(200, 0.99)])
    thresholds = fit_thresholds(p, np.repeat([0, 1], 200), settings)
    assert (thresholds.clear, thresholds.flag, thresholds.strict) == (0.5, 0.5, 0.5)


def test_classes_upside_down_are_all_inconclusive(settings: Evaluate) -> None:
    p = np.concatenate([np.linspace(0.5, 1, 200), np.linspace(0, 0.5, 200)])
    thresholds = fit_thresholds(p, np.repeat([0, 1], 200), settings)
    assert thresholds.flag > 0.98
    assert thresholds.clear < 0.02


def test_extreme_logits_stay_numbers() -> None:
    p = probabilities(np.array([-1e6, 0.0, 1e6]), 0.05)
    assert p.tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-20)
