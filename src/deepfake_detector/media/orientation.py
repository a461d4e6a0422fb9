"""An EXIF orientation or a video's display matrix -> the flips that make stored pixels upright."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Orientation:
    """Flips that make stored pixels upright: first transpose, then flip vertically, then horizontally."""

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Make uint8 (height, width, 3) upright."""
        if self.transposed:
            pixels = pixels.transpose(1, 0, 2)
        if self.upside_down:
            pixels = pixels[::-1]
        if self.mirrored:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(pixels)

    @property
    def anticlockwise_deg(self) -> int:
        """Rotation in degrees: 0, 90, 180 or 270; of a mirrored image, that before it is mirrored."""
        if self.transposed:
            return 90 if self.upside_down else 270
        return 180 if self.upside_down else 0


EXIF_ORIENTATIONS = {
    1: Orientation(),
    2: Orientation(mirrored=True),
    3: Orientation(upside_down=True, mirrored=True),
    4: Orientation(upside_down=True),
    5: Orientation(transposed=True),
    6: Orientation(transposed=True, mirrored=True),
    7: Orientation(transposed=True, upside_down=True, mirrored=True),
    8: Orientation(transposed=True, upside_down=True),
}


def orientation_from_matrix(matrix: Sequence[int]) -> Orientation:
    """Read a video's display matrix.

    Args:
        matrix: nine numbers ((a, b, u), (c, d, v), (x, y, w)): stored (x, y) is displayed at (ax + cy, bx + dy).
    """
    a, b, _, c, d = matrix[:5]
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transposed=True, upside_down=b < 0, mirrored=c < 0)
    return Orientation(upside_down=d < 0, mirrored=a < 0)
