"""RGB pixels uint8 (height, width, 3) -> how bright, contrasty and sharp the picture is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SEEN_PX = 256  # longer side at which sharpness is measured: pictures of all sizes can be compared

COLOURS_PX = 64  # side of the picture whose colours are counted


@dataclass(frozen=True)
class Look:
    """Three figures of one picture.

    Attributes:
        brightness: mean grey, 0 black to 255 white.
        contrast: standard deviation of grey, 0 to 127.5.
        sharpness: variance of the Laplacian of the grey picture, scaled to a longer side of 256 px.
    """

    brightness: float
    contrast: float
    sharpness: float


def look_at(rgb: NDArray[np.uint8]) -> Look:
    """Measure one picture.

    Args:
        rgb: uint8 (height, width, 3).
    """
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(grey)
    return Look(float(mean[0, 0]), float(deviation[0, 0]), _sharpness(grey))


def _sharpness(grey: NDArray[np.uint8]) -> float:
    height_px, width_px = grey.shape
    scale = SEEN_PX / max(height_px, width_px)
    if scale != 1:
        size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_32F))
    return float(deviation[0, 0]) ** 2


def colours(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Share of the picture that has each of 512 colours, float32 (512,): what stays when people move."""
    small = cv2.resize(rgb, (COLOURS_PX, COLOURS_PX), interpolation=cv2.INTER_AREA)
    counts = cv2.calcHist([small], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3)
    return np.asarray(counts.ravel() / COLOURS_PX**2, np.float32)
