"""Polygons (n, 2) in pixels -> soft layers on an RGB float picture (256, 256, 3), values 0..1."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.data.drawing.geometry import Points

SIDE_PX = 256
Colour: TypeAlias = NDArray[np.float32]  # (3,), RGB, 0..1
Mask: TypeAlias = NDArray[np.float32]  # (256, 256), 0..1

_SUBPIXEL_BITS = 4


class Canvas:
    """A picture that is painted on; every stroke touches only the pixels around it."""

    def __init__(self, background: NDArray[np.float32]) -> None:
        self.rgb = background

    def fill(
        self, shape: Points, colour: Colour, alpha: float = 1.0, soft_px: float = 0.0, within: Mask | None = None
    ) -> None:
        """Paint a polygon; `soft_px` blurs its edge, `within` keeps it inside another mask."""
        where, cover = _cover(shape, soft_px)
        if cover.size:
            cover = alpha * cover if within is None else alpha * cover * within[where]
            self.rgb[where] += cover[..., None] * (colour - self.rgb[where])

    def shade(self, shape: Points, factor: float, soft_px: float = 0.0, within: Mask | None = None) -> None:
        """Darken (factor < 1) or brighten (factor > 1) what is there."""
        where, cover = _cover(shape, soft_px)
        if cover.size:
            cover = cover if within is None else cover * within[where]
            self.rgb[where] *= (1 + (factor - 1) * cover)[..., None]

    def grain(self, cover: Mask, field: NDArray[np.float32]) -> None:
        """Multiply by a field around 1 that has the size of the mask's `extent`."""
        where = extent(cover)
        self.rgb[where] *= (1 + (field - 1) * cover[where])[..., None]


def extent(cover: Mask) -> tuple[slice, slice]:
    """The rectangle outside which a mask is empty."""
    x, y, width, height = cv2.boundingRect((cover > 0).astype(np.uint8))
    return slice(y, y + height), slice(x, x + width)


def mask(shape: Points, soft_px: float = 0.0) -> Mask:
    """A polygon as a mask over the whole picture."""
    whole = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    where, cover = _cover(shape, soft_px)
    whole[where] = cover
    return whole


def _cover(shape: Points, soft_px: float) -> tuple[tuple[slice, slice], Mask]:
    """The part of the picture that a polygon touches, and how much of each pixel there it covers."""
    pad = 2 + int(3 * soft_px)
    x0, y0 = np.clip(np.floor(shape.min(axis=0)).astype(int) - pad, 0, SIDE_PX)
    x1, y1 = np.clip(np.ceil(shape.max(axis=0)).astype(int) + pad, 0, SIDE_PX)
    inside = np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), np.uint8)
    if inside.size:
        fixed = np.round((shape - (x0, y0)) * 2**_SUBPIXEL_BITS).astype(np.int32)
        cv2.fillPoly(inside, [fixed], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        if soft_px > 0:
            inside = cv2.GaussianBlur(inside, (0, 0), soft_px, borderType=cv2.BORDER_REPLICATE)
    return (slice(y0, y1), slice(x0, x1)), inside.astype(np.float32) / np.float32(255)
