from __future__ import annotations

import numpy as np
import pytest

from deepfake_detector.media.face import Face
from deepfake_detector.scoring.fitness import why_not


def turned(nose_x: float) -> Face:
    points = np.array([[100, 100], [160, 100], [nose_x, 140], [110, 170], [150, 170]], np.float32)
    return Face((80, 60, 100, 140), points, 0.9)


@pytest.mark.parametrize(("nose_x", "judged"), [(130, True), (155, True), (105, True), (165, False), (95, False)])
def test_a_nose_beyond_an_eye_is_a_face_turned_away(nose_x: float, judged: bool) -> None:
    assert (why_not(turned(nose_x), 64) is None) == judged


def test_landmarks_on_one_point_are_not_judged() -> None:
    nowhere = Face((0, 0, 100, 100), np.zeros((5, 2), np.float32), 0.9)
    assert why_not(nowhere, 64) is not None


def test_size_is_counted_on_the_shorter_side() -> None:
    face = turned(130)
    assert why_not(face, 100) is None
    assert why_not(face, 101) == "its shorter side has 100 px, under the 101 px this model judges"
