"""Shapes in face units (n, 2) -> pixel coordinates (n, 2) -> soft polygons painted on an image (256, 256, 3).

The unit of face coordinates is the distance of the eyes, the origin lies between them, y points down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE_PX = 256
Points = NDArray[np.float32]  # (n, 2)
Colour: TypeAlias = NDArray[np.float32]  # (3,), RGB, 0..1
Mask: TypeAlias = NDArray[np.float32]  # (256, 256), 0..1
_SUBPIXEL_BITS = 4


class Canvas:
    """An image to paint on; every shape touches only the pixels around it."""

    def __init__(self, background: NDArray[np.float32]) -> None:
        self.rgb = background

    def fill(
        self, shape: Points, colour: Colour, alpha: float = 1.0, soft_px: float = 0.0, within: Mask | None = None
    ) -> None:
        """Paint a polygon; `soft_px` blurs its edge, `within` keeps it inside another mask."""
        area, cover = _rasterize(shape, soft_px)
        if cover.size:
            cover = alpha * cover if within is None else alpha * cover * within[area]
            self.rgb[area] += cover[..., None] * (colour - self.rgb[area])

    def shade(self, shape: Points, factor: float, soft_px: float = 0.0, within: Mask | None = None) -> None:
        """Darken (factor < 1) or brighten (factor > 1) the pixels of a polygon."""
        area, cover = _rasterize(shape, soft_px)
        if cover.size:
            cover = cover if within is None else cover * within[area]
            self.rgb[area] *= (1 + (factor - 1) * cover)[..., None]

    def texture(self, cover: Mask, field: NDArray[np.float32]) -> None:
        """Multiply the pixels of a mask by a field around 1, of the size of the mask's `extent`."""
        area = extent(cover)
        self.rgb[area] *= (1 + (field - 1) * cover[area])[..., None]


@dataclass(frozen=True)
class Pose:
    """Position and rotation of the head.

    Attributes:
        centre_px: the point between the eyes, (x, y).
        eye_distance_px: pixels between the pupils; the unit of all face coordinates.
        roll, yaw, pitch: radians.
    """

    centre_px: tuple[float, float]
    eye_distance_px: float
    roll: float
    yaw: float
    pitch: float

    def flat(self, points: Points) -> Points:
        """Face units (n, 2) -> pixels (n, 2), without depth: hair, neck, clothes."""
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        rotated = points @ np.array([[cos, sin], [-sin, cos]], np.float32)
        return (rotated * self.eye_distance_px + np.array(self.centre_px, np.float32)).astype(np.float32)

    def on_face(self, points: Points, lift: float = 0.0) -> Points:
        """Face units (n, 2) -> pixels (n, 2) on the round front of the face; `lift` is the height above it."""
        x, y = points[:, 0], points[:, 1]
        depth = 0.9 * np.sqrt(np.clip(1 - (x / 1.4) ** 2 - ((y - 0.2) / 2.1) ** 2, 0, 1)) + lift
        moved = np.stack(
            [x * np.cos(self.yaw) + depth * np.sin(self.yaw), y * np.cos(self.pitch) + depth * np.sin(self.pitch)],
            axis=1,
        )
        return self.flat(moved.astype(np.float32))

    def face_grid(self, area: tuple[slice, slice]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Face units (x, y) of every pixel in a rectangle (rows, columns) of the image."""
        rows, columns = (np.arange(part.start, part.stop, dtype=np.float32) for part in area)
        x = (columns[None, :] - np.float32(self.centre_px[0])) / np.float32(self.eye_distance_px)
        y = (rows[:, None] - np.float32(self.centre_px[1])) / np.float32(self.eye_distance_px)
        cos, sin = np.float32(np.cos(self.roll)), np.float32(np.sin(self.roll))
        return x * cos + y * sin, y * cos - x * sin


def points(*pairs: tuple[float, float]) -> Points:
    """Corner points (n, 2)."""
    return np.array(pairs, np.float32)


def ellipse(x: float, y: float, rx: float, ry: float, tilt: float = 0.0, count: int = 40) -> Points:
    """Points (count, 2) on an ellipse turned by `tilt` radians."""
    t = np.linspace(0, 2 * np.pi, count, endpoint=False)
    across, down = rx * np.cos(t), ry * np.sin(t)
    cos, sin = np.cos(tilt), np.sin(tilt)
    return np.stack([x + across * cos - down * sin, y + across * sin + down * cos], axis=1).astype(np.float32)


def curve(corners: Sequence[tuple[float, float]], count: int = 24) -> Points:
    """Points (count, 2) on a smooth line (Catmull-Rom) through the corners."""
    p = np.array([corners[0], *corners, corners[-1]], np.float64)
    at = np.linspace(0, len(corners) - 1, count)
    i = np.minimum(at.astype(int), len(corners) - 2)
    t = (at - i)[:, None]
    a, b, c, d = p[i], p[i + 1], p[i + 2], p[i + 3]
    smooth = 2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    line: Points = (smooth / 2).astype(np.float32)
    return line


def ribbon(line: Points, width: float, start: float = 0.0, end: float = 0.0) -> Points:
    """Outline of a stroke along `line`, `width` in the middle, the shares `start` and `end` of it at its ends."""
    along = np.gradient(line, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) / (np.linalg.norm(along, axis=1, keepdims=True) + 1e-6)
    t = np.linspace(0, 1, len(line))
    taper = np.sin(np.pi * t) * (1 - (start * (1 - t) + end * t)) + start * (1 - t) + end * t
    side = normal * (width / 2 * taper)[:, None]
    return np.concatenate([line + side, (line - side)[::-1]]).astype(np.float32)


def mirrored(shape: Points) -> Points:
    """The shape on the other half of the face."""
    return shape * np.array([-1, 1], np.float32)


def extent(cover: Mask) -> tuple[slice, slice]:
    """The rectangle outside which a mask is empty."""
    x, y, width, height = cv2.boundingRect((cover > 0).astype(np.uint8))
    return slice(y, y + height), slice(x, x + width)


def mask(shape: Points, soft_px: float = 0.0) -> Mask:
    """A polygon as a mask over the whole image."""
    whole = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    area, cover = _rasterize(shape, soft_px)
    whole[area] = cover
    return whole


def _rasterize(shape: Points, soft_px: float) -> tuple[tuple[slice, slice], Mask]:
    """The rectangle of the image that a polygon touches, and the share of each pixel there that it covers."""
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
