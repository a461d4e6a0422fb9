from __future__ import annotations

import pytest

from deepfake_detector.serving.dispatcher import Admission
from deepfake_detector.serving.errors import TooBusy, error_response


def test_slots_are_held_released_and_refused_when_too_few_are_free() -> None:
    admission = Admission(capacity=4, workers=2)
    with admission.admit(3):
        with pytest.raises(TooBusy, match="3 of 4 queue slots"), admission.admit(2):
            pass
        assert admission.in_use == 3
        with admission.admit(1):
            assert admission.in_use == 4
    assert admission.in_use == 0


def test_an_error_releases_the_slots() -> None:
    admission = Admission(capacity=4, workers=1)
    with pytest.raises(ZeroDivisionError), admission.admit(4):
        raise ZeroDivisionError
    assert admission.in_use == 0


def test_retry_after_follows_the_average_processing_time() -> None:
    admission = Admission(capacity=8, workers=2)
    for _ in range(200):
        admission.record_duration(8.0, 4)  # 2 s per slot
    admission.in_use = 8
    assert admission.rejection().retry_after_s == pytest.approx(8.0, rel=0.01)
    assert error_response(admission.rejection()).headers["retry-after"] == "8"
    admission.in_use = 0
    assert error_response(admission.rejection()).headers["retry-after"] == "1"
