"""RGB image uint8 (height, width, 3) -> its brightness, contrast and sharpness, and a histogram of its colours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SHARPNESS_SIDE_PX = 256  # longer side at which sharpness is measured, so that images of all sizes compare
HISTOGRAM_SIDE_PX = 64


@dataclass(frozen=True)
class ImageStats:
    """Statistics of one image.

    Attributes:
        brightness: mean grey, 0 black to 255 white.
        contrast: standard deviation of grey, 0 to 127.5.
        sharpness: variance of the Laplacian of the grey image, scaled to a longer side of 256 px.
    """

    brightness: float
    contrast: float
    sharpness: float


def measure_image(rgb: NDArray[np.uint8]) -> ImageStats:
    """Measure brightness, contrast and sharpness.

    Args:
        rgb: uint8 (height, width, 3).
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(grey)
    return ImageStats(float(mean[0, 0]), float(deviation[0, 0]), _sharpness(grey))


def colour_histogram(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Share of the image in each of 8 x 8 x 8 colours, float32 (512,); it changes little when people move."""
    small = cv2.resize(rgb, (HISTOGRAM_SIDE_PX, HISTOGRAM_SIDE_PX), interpolation=cv2.INTER_AREA)
    counts = cv2.calcHist([small], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3)
    return np.asarray(counts.ravel() / HISTOGRAM_SIDE_PX**2, np.float32)


def _sharpness(grey: NDArray[np.uint8]) -> float:
    height_px, width_px = grey.shape
    scale = SHARPNESS_SIDE_PX / max(height_px, width_px)
    if scale != 1:
        size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))
    return float(deviation[0, 0]) ** 2
