"""Temperature and thresholds from validation scores."""

from pathlib import Path

import numpy as np
import pytest

from deepfake_detector.model.calibration import fit_temperature, fit_thresholds, probabilities
from deepfake_detector.settings import Evaluate, read_settings


@pytest.fixture
def settings() -> Evaluate:
    return read_settings(Path(__file__).parents[2] / "params.yaml").evaluate


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 4.0])
def test_a_known_temperature_is_found(true_temperature: float) -> None:
    rng = np.random.default_rng(1)
    honest = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < probabilities(honest, 1.0)).astype(np.int64)
    assert fit_temperature(honest * true_temperature, labels) == pytest.approx(true_temperature, rel=0.05)


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
    assert p.tolist() == [0.0, 0.5, 1.0]
