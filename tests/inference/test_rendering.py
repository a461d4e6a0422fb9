from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.heatmap import LABEL_COLOURS
from deepfake_detector.inference.rendering import TILE_PX, render_image_explanation, render_timeline
from deepfake_detector.inference.verdict import Label
from deepfake_detector.model.bundle import Bundle


def share(picture: NDArray[np.uint8], label: Label) -> float:
    return float(np.mean(np.all(picture == np.array(LABEL_COLOURS[label], np.uint8), axis=-1)))


def test_a_fake_face_has_a_box_in_its_colour_and_a_heatmap(
    tiny_bundle: Bundle, red_portrait: NDArray[np.uint8]
) -> None:
    detector = Detector(tiny_bundle)
    scored = detector.score_faces(red_portrait)
    picture = render_image_explanation(red_portrait, scored, detector.model.thresholds)
    assert picture.shape == (256 + TILE_PX, 2 * TILE_PX, 3)
    assert share(picture[:256, :256], "fake") > 0.005
    assert share(picture[:256, :256], "real") == 0.0
    heatmap = picture[256:, TILE_PX:].astype(int)
    assert heatmap[..., 0].mean() > heatmap[..., 2].mean() + 30  # vermilion over a grey face


def test_a_picture_without_faces_is_not_changed(tiny_bundle: Bundle) -> None:
    grey = np.full((100, 120, 3), 77, np.uint8)
    picture = render_image_explanation(grey, [], Detector(tiny_bundle).model.thresholds)
    assert np.array_equal(picture, grey)


def test_large_pictures_are_downscaled(tiny_bundle: Bundle) -> None:
    wide = np.zeros((100, 4000, 3), np.uint8)
    assert render_image_explanation(wide, [], Detector(tiny_bundle).model.thresholds).shape == (40, 1600, 3)


def test_a_timeline_has_a_dot_per_scored_frame(tiny_bundle: Bundle, clip: Path) -> None:
    answer = Detector(tiny_bundle).predict_video(clip)
    plot = render_timeline(answer)
    assert plot.shape == (360, 960, 3)
    assert share(plot, "real") > 0.001
    assert share(plot, "fake") > 0.001
    empty = render_timeline(answer.model_copy(update={"timeline": ()}))
    assert share(empty, "fake") < share(plot, "fake")
