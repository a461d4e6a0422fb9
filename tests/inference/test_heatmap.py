from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.heatmap import COLOURS, explain, heat_of
from deepfake_detector.inference.scored_face import Judged
from deepfake_detector.media.face_alignment import align
from deepfake_detector.media.face_detector import Face
from deepfake_detector.model.bundle import Bundle


def pixels_of(text: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_heat_is_vermilion_for_a_fake_green_for_a_real_face_and_clear_where_nothing_speaks() -> None:
    heat = heat_of(np.array([[6.0, 0.0], [0.0, -6.0]], np.float32), 64)
    assert heat.shape == (64, 64, 4)
    assert tuple(heat[0, 0, :3]) == COLOURS["fake"]
    assert tuple(heat[-1, -1, :3]) == COLOURS["real"]
    assert heat[0, 0, 3] == heat[-1, -1, 3] > 150
    assert heat[0, -1, 3] == heat[-1, 0, 3] == 0


def test_an_explanation_shows_the_crop_its_heat_and_its_place(
    tiny_bundle: Bundle, red_portrait: NDArray[np.uint8]
) -> None:
    scale = tiny_bundle.contract.crop_scale
    (judged,) = Detector(tiny_bundle).judge(red_portrait)
    found = explain(judged, scale)
    assert found is not None
    assert np.array_equal(pixels_of(found.crop_png), align(red_portrait, judged.face, 64, scale))
    heat = pixels_of(found.heatmap_png)
    assert heat.shape == (64, 64, 4)
    assert heat[..., 3].mean() > 50
    corners = np.array(found.corners_px)
    steps = np.roll(corners, -1, axis=0) - corners
    assert np.allclose(np.hypot(*steps.T), np.hypot(*steps[0]), atol=0.3)  # a square,
    assert np.cross(np.pad(steps[0], (0, 1)), np.pad(steps[1], (0, 1)))[2] > 0  # clockwise, as y points down,
    eyes = judged.face.landmarks_px[:2].mean(axis=0)
    assert np.all(corners.min(axis=0) < eyes)  # around the face
    assert np.all(eyes < corners.max(axis=0))


def test_a_face_that_was_not_judged_has_no_explanation() -> None:
    face = Face((0.0, 0.0, 9.0, 9.0), np.zeros((5, 2), np.float32), 0.9)
    assert explain(Judged(face, "too small"), 0.6) is None
