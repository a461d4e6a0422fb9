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


def test_retry_after_is_the_time_until_enough_slots_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("deepfake_detector.serving.dispatcher.time.monotonic", lambda: now_s[0])
    admission = Admission(capacity=8, workers=2)
    for _ in range(20):
        admission.record_duration(8.0, 4, "video")  # 2 s per slot
        admission.record_duration(0.5, 1, "image")
    with admission.admit(4, "video"), admission.admit(4, "image"):
        assert admission.rejection(1).retry_after_s == pytest.approx(4.0)  # the video ends: 8 s of work on 2 workers
        assert admission.rejection(5).retry_after_s == pytest.approx(5.0)  # the images, too
        assert error_response(admission.rejection(5)).headers["retry-after"] == "5"
        now_s[0] += 3.0
        assert admission.rejection(1).retry_after_s == pytest.approx(1.0)
        now_s[0] += 30.0
        assert error_response(admission.rejection(1)).headers["retry-after"] == "1"
    assert error_response(admission.rejection(1)).headers["retry-after"] == "1"


def test_the_average_follows_a_change_within_ten_jobs() -> None:
    admission = Admission(capacity=1, workers=1)
    admission.record_duration(0.1, 1)
    for _ in range(10):
        admission.record_duration(5.0, 1)
    with admission.admit(1):
        assert 4.0 < admission.rejection(1).retry_after_s <= 5.0
