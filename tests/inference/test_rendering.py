from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.rendering import COLOURS, TILE_PX, explain_image, explain_video
from deepfake_detector.model.bundle import Bundle


def share(picture: NDArray[np.uint8], answer: str) -> float:
    return float(np.mean(np.all(picture == np.array(COLOURS[answer], np.uint8), axis=-1)))  # type: ignore[index]


def test_a_fake_face_is_boxed_in_its_colour_and_shown_with_its_heat(
    tiny_bundle: Bundle, red_portrait: NDArray[np.uint8]
) -> None:
    detector = Detector(tiny_bundle)
    judged = detector.judge(red_portrait)
    picture = explain_image(red_portrait, judged, detector.model.thresholds)
    assert picture.shape == (256 + TILE_PX, 2 * TILE_PX, 3)
    assert share(picture[:256, :256], "fake") > 0.005
    assert share(picture[:256, :256], "real") == 0.0
    heat = picture[256:, TILE_PX:].astype(int)
    assert heat[..., 0].mean() > heat[..., 2].mean() + 30  # vermilion over a grey face


def test_a_picture_without_faces_stays_as_it_is(tiny_bundle: Bundle) -> None:
    grey = np.full((100, 120, 3), 77, np.uint8)
    picture = explain_image(grey, [], Detector(tiny_bundle).model.thresholds)
    assert np.array_equal(picture, grey)


def test_large_pictures_are_shrunk(tiny_bundle: Bundle) -> None:
    wide = np.zeros((100, 4000, 3), np.uint8)
    assert explain_image(wide, [], Detector(tiny_bundle).model.thresholds).shape == (40, 1600, 3)


def test_a_timeline_has_a_dot_per_judged_frame(tiny_bundle: Bundle, clip: Path) -> None:
    answer = Detector(tiny_bundle).video(clip)
    plot = explain_video(answer)
    assert plot.shape == (360, 960, 3)
    assert share(plot, "real") > 0.001
    assert share(plot, "fake") > 0.001
    quiet = explain_video(answer.model_copy(update={"timeline": ()}))
    assert share(quiet, "fake") < share(plot, "fake")
