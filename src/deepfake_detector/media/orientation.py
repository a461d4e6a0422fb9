"""What a file says about its orientation (EXIF tag, display matrix) -> how stored pixels become upright."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Turn:
    """How stored pixels become upright: swap rows and columns first, then mirror up-down, then left-right."""

    transposed: bool = False
    upside_down: bool = False
    mirrored: bool = False

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn uint8 (height, width, 3)."""
        if self.transposed:
            pixels = pixels.transpose(1, 0, 2)
        if self.upside_down:
            pixels = pixels[::-1]
        if self.mirrored:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(pixels)

    @property
    def anticlockwise_deg(self) -> int:
        """0, 90, 180 or 270; a mirror image is counted by how it lies."""
        if self.transposed:
            return 90 if self.upside_down else 270
        return 180 if self.upside_down else 0


# EXIF orientation -> turn.
UPRIGHT = {
    1: Turn(),
    2: Turn(mirrored=True),
    3: Turn(upside_down=True, mirrored=True),
    4: Turn(upside_down=True),
    5: Turn(transposed=True),
    6: Turn(transposed=True, mirrored=True),
    7: Turn(transposed=True, upside_down=True, mirrored=True),
    8: Turn(transposed=True, upside_down=True),
}


def turn_of(matrix: Sequence[int]) -> Turn:
    """Read a video's display matrix.

    Args:
        matrix: nine numbers ((a, b, u), (c, d, v), (x, y, w)): stored (x, y) is shown at (ax + cy, bx + dy).
    """
    a, b, _, c, d = matrix[:5]
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Turn(transposed=True, upside_down=b < 0, mirrored=c < 0)
    return Turn(upside_down=d < 0, mirrored=a < 0)
