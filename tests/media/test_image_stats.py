"""Brightness, contrast and sharpness of pictures whose figures are known."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media.image_stats import colours, look_at


def test_a_flat_picture() -> None:
    look = look_at(np.full((50, 80, 3), 77, np.uint8))
    assert (look.brightness, look.contrast, look.sharpness) == (77.0, 0.0, 0.0)


def test_half_black_half_white() -> None:
    rgb = np.zeros((256, 256, 3), np.uint8)
    rgb[:, 128:] = 255
    look = look_at(rgb)
    assert (look.brightness, look.contrast) == (127.5, 127.5)
    # Two of 256 columns answer +-255, the others 0.
    assert look.sharpness == pytest.approx(2 / 256 * 255**2, rel=0.01)


def test_blur_is_seen_and_size_is_not(portrait: NDArray[np.uint8]) -> None:
    sharp = look_at(portrait).sharpness
    assert look_at(np.asarray(cv2.GaussianBlur(portrait, (0, 0), 3), np.uint8)).sharpness < 0.3 * sharp
    larger = portrait.repeat(3, axis=0).repeat(3, axis=1)  # interpolation would soften it by itself
    assert look_at(larger).sharpness == pytest.approx(sharp, rel=0.05)


def test_a_strip_of_one_pixel_is_measured() -> None:
    assert look_at(np.full((1, 1000, 3), 9, np.uint8)).brightness == 9.0


def test_colours_stay_when_a_picture_is_shifted_or_enlarged_and_change_with_it(portrait: NDArray[np.uint8]) -> None:
    assert colours(portrait).sum() == pytest.approx(1, abs=1e-5)

    def common(other: NDArray[np.uint8]) -> float:
        return float(np.minimum(colours(portrait), colours(other)).sum())

    assert common(np.roll(portrait, 30, axis=1)) > 0.9
    assert common(cv2.resize(portrait, (640, 640))) > 0.9
    assert common(255 - portrait) < 0.4
