"""Before and after a calibration."""

import numpy as np

from deepfake_detector.evaluation.metrics import calibration_error, compare, nll


def test_what_was_off_is_measured_before_and_after() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, 4000)
    p, p_proud = 1 / (1 + np.exp(-honest)), 1 / (1 + np.exp(-3 * honest))
    labels = (rng.random(4000) < p).astype(np.int64)
    found = compare("all", p_proud, p, labels, bins=15, resamples=50)
    assert found.after.ece.high < found.before.ece.low
    assert found.after.nll < found.before.nll
    assert found.after.brier < found.before.brier
    assert found.after.ece.value == calibration_error(p, labels, 15)
    assert found.before.nll == nll(p_proud, labels)
    assert found.images == 4000


def test_nothing_changed_is_nothing_gained() -> None:
    p = np.array([0.2, 0.9, 0.6])
    found = compare("all", p, p, np.array([0, 1, 1]), 5, 20)
    assert found.before == found.after
