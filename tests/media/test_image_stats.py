"""Images with known brightness, contrast and sharpness; histograms that survive shifts and resizing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media.image_stats import colour_histogram, measure_image


def test_a_flat_image() -> None:
    stats = measure_image(np.full((50, 80, 3), 77, np.uint8))
    assert (stats.brightness, stats.contrast, stats.sharpness) == (77.0, 0.0, 0.0)


def test_half_black_half_white() -> None:
    rgb = np.zeros((256, 256, 3), np.uint8)
    rgb[:, 128:] = 255
    stats = measure_image(rgb)
    assert (stats.brightness, stats.contrast) == (127.5, 127.5)
    # The Laplacian is +-255 in two of 256 columns, else 0.
    assert stats.sharpness == pytest.approx(2 / 256 * 255**2, rel=0.01)


def test_sharpness_falls_with_blur_and_ignores_size(portrait: NDArray[np.uint8]) -> None:
    sharp = measure_image(portrait).sharpness
    assert measure_image(np.asarray(cv2.GaussianBlur(portrait, (0, 0), 3), np.uint8)).sharpness < 0.3 * sharp
    larger = portrait.repeat(3, axis=0).repeat(3, axis=1)  # interpolation would soften it by itself
    assert measure_image(larger).sharpness == pytest.approx(sharp, rel=0.05)


def test_an_image_one_pixel_high_is_measured() -> None:
    assert measure_image(np.full((1, 1000, 3), 9, np.uint8)).brightness == 9.0


def test_histogram_survives_shifting_and_resizing_and_changes_with_the_image(portrait: NDArray[np.uint8]) -> None:
    assert colour_histogram(portrait).sum() == pytest.approx(1, abs=1e-5)

    def overlap(other: NDArray[np.uint8]) -> float:
        return float(np.minimum(colour_histogram(portrait), colour_histogram(other)).sum())

    assert overlap(np.roll(portrait, 30, axis=1)) > 0.9
    assert overlap(cv2.resize(portrait, (640, 640))) > 0.9
    assert overlap(255 - portrait) < 0.4
