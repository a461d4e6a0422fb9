"""What three thresholds do to a handful of pictures, counted by hand."""

import numpy as np

from deepfake_detector.evaluation.metrics import measure_band
from deepfake_detector.model.bundle import Thresholds

P = np.array([0.05, 0.20, 0.50, 0.75, 0.10, 0.60, 0.80, 0.95])
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])


def test_counted_by_hand() -> None:
    band = measure_band(P, LABELS, Thresholds(clear=0.3, flag=0.7, strict=0.9))
    assert band.coverage.value == 6 / 8  # 0.50 and 0.60 are inconclusive
    assert band.accuracy.value == 4 / 6
    assert (band.caught.value, band.false_alarms.value) == (2 / 4, 1 / 4)
    assert (band.strictly_caught.value, band.strict_false_alarms.value) == (1 / 4, 0.0)
    assert band.cleared_fakes.value == 1 / 4


def test_flag_is_asked_before_clear() -> None:
    band = measure_band(np.array([0.6, 0.4]), np.array([1, 0]), Thresholds(clear=0.7, flag=0.5, strict=0.5))
    assert band.coverage.value == band.accuracy.value == band.caught.value == 1.0


def test_nothing_answered_is_no_accuracy_of_zero() -> None:
    band = measure_band(np.full(4, 0.5), np.array([0, 0, 1, 1]), Thresholds(clear=0.1, flag=0.9, strict=0.95))
    assert band.coverage.value == 0.0
    assert (band.accuracy.low, band.accuracy.high) == (0.0, 1.0)
