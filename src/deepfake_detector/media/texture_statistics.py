"""RGB image uint8 (height, width, 3) -> six numbers that tell its sharpness and compression history, but no content.

They answer whether a network could separate two classes by resolution, blur and codec alone: see `texture_probes`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOW_PX = 256  # the middle of larger images; their pixels are not resized
BLOCK_PX = 8  # of JPEG's grid
DISTANCES_PX = (1, 2, 4)
STATISTICS = ("sharpness", *(f"difference at {px} px" for px in DISTANCES_PX), "colour difference", "block grid")


def measure_texture(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Measure the middle of an image at its own resolution.

    Args:
        rgb: uint8 (height, width, 3).

    Returns:
        (6,) natural logarithms, as `STATISTICS` names them: the variance of the Laplacian of the luma; mean differences
        of luma along rows at 1, 2 and 4 px; the same of chroma at 1 px; the strongest of the eight columns of an 8 px
        grid over the mean of all columns.
    """
    luma, chroma = _planes(rgb)
    laplacian = float(cv2.Laplacian(luma, cv2.CV_32F).var())
    differences = [float(np.abs(luma[:, px:] - luma[:, :-px]).mean()) for px in DISTANCES_PX]
    colour = float(np.abs(np.diff(chroma, axis=1)).mean())
    columns = np.abs(np.diff(luma, axis=1)).mean(axis=0)
    grid = max(float(columns[first::BLOCK_PX].mean()) for first in range(BLOCK_PX)) / max(float(columns.mean()), 1e-3)
    # The summands keep flat images finite: they are small beside photographs' values of 100, 1 to 10, and 0.5.
    values = [laplacian + 1, *(each + 0.05 for each in differences), colour + 0.05, grid + 0.05]
    return np.log(np.array(values, np.float64))


def _planes(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Luma and red chroma (h, w) of the middle, which begins on the grid of 8 px that JPEG and WebP leave."""
    tops = [max(0, side - WINDOW_PX) // 2 // BLOCK_PX * BLOCK_PX for side in rgb.shape[:2]]
    window = rgb[tops[0] : tops[0] + WINDOW_PX, tops[1] : tops[1] + WINDOW_PX]
    missing = [max(0, 2 * BLOCK_PX - side) for side in window.shape[:2]]
    padded = cv2.copyMakeBorder(np.ascontiguousarray(window), 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    planes = cv2.cvtColor(padded, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    return planes[:, :, 0], planes[:, :, 1]
