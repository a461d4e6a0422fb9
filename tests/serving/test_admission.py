from __future__ import annotations

import pytest

from deepfake_detector.serving.dispatcher import Line
from deepfake_detector.serving.errors import TooBusy, refusal


def test_places_are_taken_given_back_and_refused_when_they_are_gone() -> None:
    line = Line(places=4, workers=2)
    with line.hold(3):
        with pytest.raises(TooBusy, match="3 of 4 places"), line.hold(2):
            pass
        assert line.taken == 3
        with line.hold(1):
            assert line.taken == 4
    assert line.taken == 0


def test_an_error_gives_the_places_back() -> None:
    line = Line(places=4, workers=1)
    with pytest.raises(ZeroDivisionError), line.hold(4):
        raise ZeroDivisionError
    assert line.taken == 0


def test_the_advice_when_to_come_again_follows_what_work_takes() -> None:
    line = Line(places=8, workers=2)
    for _ in range(200):
        line.worked(8.0, 4)  # 2 s a place
    line.taken = 8
    assert line.full().retry_after_s == pytest.approx(8.0, rel=0.01)
    assert refusal(line.full()).headers["retry-after"] == "8"
    line.taken = 0
    assert refusal(line.full()).headers["retry-after"] == "1"
