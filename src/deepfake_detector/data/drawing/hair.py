"""Traits -> hair behind the head, hair over the forehead, and strands; face units as in geometry.py."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.data.drawing.canvas import SIDE_PX, Canvas, Mask, extent, mask
from deepfake_detector.data.drawing.geometry import Points, curve, ellipse, points
from deepfake_detector.data.drawing.traits import Traits

_STRAND_PX = 450.0  # longer than any way from the crown to a corner


def paint_hair_behind(canvas: Canvas, who: Traits, strands: NDArray[np.float32]) -> None:
    """What shows beside and below the face; `strands` (256, 256) around 1 multiplies the colour."""
    shape = _behind(who)
    if shape is not None:
        _paint(canvas, who, mask(who.pose.flat(shape), _soft_px(who)), strands, 0.72)


def paint_hair_front(canvas: Canvas, who: Traits, strands: NDArray[np.float32]) -> None:
    """The cap over the skull, open over the forehead."""
    if who.hair_style == "bald":
        return
    skull = mask(who.pose.flat(_cap(who)), _soft_px(who))
    cover = skull * (1 - mask(who.pose.on_face(_forehead(who)), 2.5))
    _paint(canvas, who, cover.astype(np.float32), strands, 1.0)


def _behind(who: Traits) -> Points | None:
    wide = who.face_width
    if who.hair_style == "long":
        return curve(
            [
                (0, -1.8),
                (-wide * 1.05, -1.3),
                (-wide * 1.32, 0.2),
                (-wide * 1.4, 2.0),
                (-wide * 1.3, 3.4),
                (0, 3.4),
                (wide * 1.3, 3.4),
                (wide * 1.4, 2.0),
                (wide * 1.32, 0.2),
                (wide * 1.05, -1.3),
                (0, -1.8),
            ],
            80,
        )
    if who.hair_style == "bob":
        return curve(
            [
                (0, -1.8),
                (-wide * 1.08, -1.25),
                (-wide * 1.33, 0.2),
                (-wide * 1.25, 1.55),
                (-wide * 0.8, 1.75),
                (0, 1.6),
                (wide * 0.8, 1.75),
                (wide * 1.25, 1.55),
                (wide * 1.33, 0.2),
                (wide * 1.08, -1.25),
                (0, -1.8),
            ],
            80,
        )
    if who.hair_style == "curly":
        t = np.linspace(0, 2 * np.pi, 120)
        bumps = 1 + 0.035 * np.sin(17 * t + who.parting * 9) + 0.025 * np.sin(29 * t)
        return np.stack([wide * 1.5 * bumps * np.cos(t), -0.35 + 1.62 * bumps * np.sin(t)], axis=1).astype(np.float32)
    return None


def _cap(who: Traits) -> Points:
    wide, high = who.face_width, {"cropped": 1.62, "short": 1.82, "curly": 1.85}.get(who.hair_style, 1.78)
    side = 0.05 if who.hair_style == "cropped" else 0.3
    low = 1.04 if who.hair_style == "cropped" else 1.1
    return curve(
        [
            (-wide * low, side),
            (-wide * 1.1, -0.5),
            (-wide * 0.85, -high * 0.8),
            (0, -high),
            (wide * 0.85, -high * 0.8),
            (wide * 1.1, -0.5),
            (wide * low, side),
            (wide * 0.6, 0.0),
            (-wide * 0.6, 0.0),
            (-wide * low, side),
        ],
        80,
    )


def _forehead(who: Traits) -> Points:
    """Skin that stays free: the face below the hairline."""
    wide, at = who.face_width, who.parting * 0.55
    line = {"cropped": -1.02, "short": -0.92, "curly": -0.86}.get(who.hair_style, -0.98)
    edge = 0.93 if who.hair_style in ("cropped", "short") else 0.86
    return np.concatenate(
        [
            curve(
                [
                    (-wide * edge, 0.5),
                    (-wide * edge, -0.25),
                    (-wide * 0.72, line * 0.72),
                    (at, line),
                    (wide * 0.72, line * 0.72),
                    (wide * edge, -0.25),
                    (wide * edge, 0.5),
                ],
                50,
            ),
            points((wide * 1.3, 2.5), (-wide * 1.3, 2.5)),
        ]
    )


def _paint(canvas: Canvas, who: Traits, cover: Mask, strands: NDArray[np.float32], bright: float) -> None:
    where = extent(cover)
    x, y = who.pose.face_grid(where)
    lit = 0.8 + 0.3 * np.exp(-(((x - who.light[0]) / 0.8) ** 2) - ((y + 1.25) / 0.45) ** 2)
    colour = who.hair * np.float32(bright) * (lit * strands[where])[..., None]
    canvas.rgb[where] += cover[where][..., None] * (colour - canvas.rgb[where])


def _soft_px(who: Traits) -> float:
    return {"curly": 2.2, "cropped": 1.6}.get(who.hair_style, 1.1)


def draw_strands(who: Traits, rng: np.random.Generator) -> NDArray[np.float32]:
    """Brightness of hair, (256, 256) around 1: lines that run from the crown, or curls."""
    grain = rng.standard_normal((SIDE_PX, SIDE_PX), np.float32)
    if who.hair_style in ("curly", "cropped"):
        fine = 1.2 if who.hair_style == "cropped" else 2.4
        blobs = cv2.GaussianBlur(grain, (0, 0), fine)
        return np.asarray(np.clip(1 + 0.22 * blobs / blobs.std(), 0.4, 1.7), np.float32)
    rays = cv2.GaussianBlur(grain, (0, 0), sigmaX=26, sigmaY=1.3)  # columns: radius, rows: angle
    crown = who.pose.flat(points((who.parting * 0.5, -2.5)))[0]
    # Without FILL_OUTLIERS, pixels beyond the radius keep whatever lay in memory: another picture on every run.
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR | cv2.WARP_FILL_OUTLIERS
    spread = cv2.warpPolar(rays, (SIDE_PX, SIDE_PX), (float(crown[0]), float(crown[1])), _STRAND_PX, flags)
    return np.asarray(np.clip(1 + 0.17 * spread / (rays.std() + 1e-6), 0.45, 1.6), np.float32)


def paint_beard(canvas: Canvas, who: Traits, cover: Mask, rng: np.random.Generator) -> None:
    """Short dark hair: colour of the hair, grain of the skin."""
    where = extent(cover)
    cover = cover[where]
    if not cover.size:
        return
    grain = cv2.GaussianBlur(rng.standard_normal(cover.shape, np.float32), (0, 0), sigmaX=0.8, sigmaY=1.3)
    grain /= grain.std()
    depth = np.clip(cover * (0.82 + 0.35 * grain * (1.15 - cover)), 0, 0.96)
    colour = who.hair * np.float32(0.8) * (1 + 0.15 * grain)[..., None]
    canvas.rgb[where] += depth[..., None] * (colour - canvas.rgb[where])


def ear(side: int, who: Traits) -> Points:
    """Outline of one ear (n, 2)."""
    return ellipse(side * who.face_width * 1.02, 0.22, 0.16, 0.34, side * 0.12)
