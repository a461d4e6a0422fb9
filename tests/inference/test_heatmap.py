from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.heatmap import LABEL_COLOURS, explain_face, render_heatmap, render_relative_heatmap
from deepfake_detector.inference.scored_face import ScoredFace
from deepfake_detector.media.face_alignment import align_face
from deepfake_detector.media.face_detector import Face
from deepfake_detector.model.bundle import Bundle


def pixels_of(text: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_a_heatmap_is_vermilion_for_fake_green_for_real_and_transparent_without_evidence() -> None:
    heatmap = render_heatmap(np.array([[6.0, 0.0], [0.0, -6.0]], np.float32), 64)
    assert heatmap.shape == (64, 64, 4)
    assert tuple(heatmap[0, 0, :3]) == LABEL_COLOURS["fake"]
    assert tuple(heatmap[-1, -1, :3]) == LABEL_COLOURS["real"]
    assert heatmap[0, 0, 3] == heatmap[-1, -1, 3] > 150
    assert heatmap[0, -1, 3] == heatmap[-1, 0, 3] == 0


def test_the_relative_heatmap_of_a_sure_face_shows_where_the_evidence_is_strongest() -> None:
    logits = np.full((4, 4), 8.0, np.float32)
    logits[0, 0] = 12.0
    absolute, relative = render_heatmap(logits, 64), render_relative_heatmap(logits, 64)
    assert len(np.unique(absolute[..., 3])) == 1  # one flat colour
    assert relative is not None
    assert relative[0, 0, 3] > 150
    assert relative[-1, -1, 3] == 0
    assert tuple(relative[0, 0, :3]) == LABEL_COLOURS["fake"]


def test_without_differences_there_is_no_relative_heatmap() -> None:
    assert render_relative_heatmap(np.full((4, 4), 9.0, np.float32), 64) is None
    nearly_even = np.linspace(5.0, 5.9, 16, dtype=np.float32).reshape(4, 4)
    assert render_relative_heatmap(nearly_even, 64) is None


def test_an_explanation_has_the_crop_its_heatmap_and_its_corners(
    tiny_bundle: Bundle, red_portrait: NDArray[np.uint8]
) -> None:
    scale = tiny_bundle.contract.crop_scale
    (scored,) = Detector(tiny_bundle).score_faces(red_portrait)
    found = explain_face(scored, scale)
    assert found is not None
    assert np.array_equal(pixels_of(found.crop_png), align_face(red_portrait, scored.face, 64, scale))
    heatmap = pixels_of(found.heatmap_png)
    assert heatmap.shape == (64, 64, 4)
    assert heatmap[..., 3].mean() > 50
    corners = np.array(found.corners_px)
    steps = np.roll(corners, -1, axis=0) - corners
    assert np.allclose(np.hypot(*steps.T), np.hypot(*steps[0]), atol=0.3)  # a square,
    assert np.cross(np.pad(steps[0], (0, 1)), np.pad(steps[1], (0, 1)))[2] > 0  # clockwise, as y points down,
    eyes = scored.face.landmarks_px[:2].mean(axis=0)
    assert np.all(corners.min(axis=0) < eyes)  # around the face
    assert np.all(eyes < corners.max(axis=0))


def test_an_unscored_face_has_no_explanation() -> None:
    face = Face((0.0, 0.0, 9.0, 9.0), np.zeros((5, 2), np.float32), 0.9)
    assert explain_face(ScoredFace(face, "too small"), 0.6) is None
