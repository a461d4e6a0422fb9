"""Random numbers -> a portrait, uint8 RGB (256, 256, 3), painted from about twenty soft shapes, back to front."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.datasets.synthetic_faces.canvas import (
    SIDE_PX,
    Canvas,
    Mask,
    Points,
    curve,
    ellipse,
    extent,
    mask,
    points,
)
from deepfake_detector.datasets.synthetic_faces.features import (
    beard_cover,
    draw_strands,
    ear,
    paint_beard,
    paint_eyes,
    paint_glasses,
    paint_hair_behind,
    paint_hair_front,
    paint_mouth,
    paint_nose,
)
from deepfake_detector.datasets.synthetic_faces.traits import Traits, draw_traits


def draw_portrait(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one person.

    Args:
        rng: decides everything; the same state gives the same bytes.

    Returns:
        uint8 RGB (256, 256, 3), with a face that YuNet finds.
    """
    traits = draw_traits(rng)
    canvas = Canvas(_backdrop(traits, rng))
    strands = draw_strands(traits, rng)
    paint_hair_behind(canvas, traits, strands)
    _paint_body(canvas, traits, rng)
    face = mask(traits.pose.flat(_head_outline(traits)), 0.7)
    _paint_head(canvas, traits, face, rng)
    paint_nose(canvas, traits)
    paint_mouth(canvas, traits)
    paint_beard(canvas, traits, beard_cover(traits, face), rng)
    paint_eyes(canvas, traits, (float(rng.normal(0, 0.02)), float(rng.normal(0, 0.01))))
    paint_hair_front(canvas, traits, strands)
    if traits.glasses:
        paint_glasses(canvas, traits, (rng.uniform(0.04, 0.3) * rng.uniform(0.6, 1.4, 3)).astype(np.float32))
    return np.asarray(np.clip(canvas.rgb * 255 + 0.5, 0, 255), np.uint8)


def _head_outline(traits: Traits) -> Points:
    """Crown, cheeks, jaw and chin as one outline (80, 2)."""
    t = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    across, down = np.cos(t), np.sin(t)
    taper = np.where(down > 0, 1 - (0.42 - 0.14 * traits.jaw) * np.abs(down) ** 2.2, 1)
    wide = np.sign(across) * np.abs(across) ** np.where(down > 0, 0.98 - 0.2 * traits.jaw, 0.88)
    high = np.where(down > 0, 1.64, 1.58)
    return np.stack([traits.face_width * wide * taper, 0.12 + high * down], axis=1).astype(np.float32)


def _backdrop(traits: Traits, rng: np.random.Generator) -> NDArray[np.float32]:
    """A wall or a street out of focus."""
    small = 64
    down = np.linspace(0, 1, small, dtype=np.float32)[:, None, None]
    wall = np.repeat(traits.backdrop[0] + (traits.backdrop[1] - traits.backdrop[0]) * down, small, axis=1).astype(
        np.float32
    )
    for _ in range(int(rng.integers(0, 9))):
        spot = np.zeros((small, small), np.float32)
        at, radius = rng.integers(0, small, 2), int(rng.integers(3, 16))
        cv2.circle(spot, (int(at[0]), int(at[1])), radius, float(rng.uniform(0.2, 0.7)), -1, cv2.LINE_AA)
        wall += cv2.GaussianBlur(spot, (0, 0), float(rng.uniform(0.8, 4)))[..., None] * (traits.backdrop[2] - wall)
    wall_noise = rng.standard_normal((small, small, 1), np.float32) * np.float32(rng.uniform(0, 0.03))
    large: NDArray[np.float32] = cv2.resize(wall + wall_noise, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
    return large


def _paint_body(canvas: Canvas, traits: Traits, rng: np.random.Generator) -> None:
    """Paint the neck, its shadow, shoulders and a collar."""
    flat, unit = traits.pose.flat, traits.pose.eye_distance_px
    wide = 0.72 + 0.16 * traits.jaw
    neck = np.concatenate(
        [
            curve([(-wide, 0.9), (-wide * 0.95, 2.0), (-wide * 1.25, 2.75)], 12),
            curve([(wide * 1.25, 2.75), (wide * 0.95, 2.0), (wide, 0.9)], 12),
        ]
    )
    canvas.fill(flat(neck), traits.skin * np.float32(0.8), 1.0, 0.8)
    canvas.shade(flat(ellipse(0.0, 1.7, wide * 1.15, 0.55)), 0.68, 0.12 * unit, within=mask(flat(neck), 0.8))
    deep = float(rng.uniform(2.35, 2.9))
    shirt = np.concatenate(
        [
            curve(
                [(-5, 4.6), (-2.6, 2.95), (-1.3, 2.45), (-wide * 1.02, 2.1), (-wide * 0.6, deep - 0.15), (0, deep)], 40
            ),
            curve([(0, deep), (wide * 0.6, deep - 0.15), (wide * 1.02, 2.1), (1.3, 2.45), (2.6, 2.95), (5, 4.6)], 40),
        ]
    )
    canvas.fill(flat(shirt), traits.cloth, 1.0, 0.8)
    canvas.shade(
        flat(ellipse(-np.sign(traits.light[0]) * 1.9, 3.2, 1.0, 0.9)), 0.75, 0.3 * unit, within=mask(flat(shirt), 0.8)
    )
    cloth = mask(flat(shirt), 1.0)
    canvas.texture(cloth, 1 + np.float32(rng.uniform(0.01, 0.11)) * _white_noise(cloth, rng))


def _paint_head(canvas: Canvas, traits: Traits, face: Mask, rng: np.random.Generator) -> None:
    """Paint ears, the lit skull, cheeks, pores, freckles and wrinkles."""
    flat, unit = traits.pose.flat, traits.pose.eye_distance_px
    for side in (-1, 1):
        canvas.fill(flat(ear(side, traits)), traits.skin * np.float32(0.86), 1.0, 0.7)
        canvas.shade(
            flat(ear(side, traits) * np.float32(0.5) + np.array([side * traits.face_width * 0.53, 0.1], np.float32)),
            0.75,
            0.03 * unit,
        )
    skull = extent(face)
    shade = _brightness(traits, skull)[..., None]
    lit = traits.skin * shade * (1 - np.array([0, 0.07, 0.14], np.float32) * (1 - shade))  # shadows on skin are warm
    canvas.rgb[skull] += face[skull][..., None] * (lit - canvas.rgb[skull])
    for side in (-1, 1):
        cheek = traits.pose.on_face(ellipse(0.68 * side, 0.6, 0.28, 0.22))
        canvas.fill(cheek, traits.skin * np.array([1.0, 0.78, 0.76], np.float32), 0.3, 0.13 * unit)
        temple = traits.pose.on_face(ellipse(1.0 * side, -0.35, 0.2, 0.4))
        canvas.shade(temple, 0.9, 0.14 * unit, within=face)
    pores = _white_noise(face, rng)
    pores = pores + 2.5 * cv2.GaussianBlur(pores, (0, 0), 1.2) + 9 * cv2.GaussianBlur(pores, (0, 0), 5)
    canvas.texture(face, 1 + np.float32(0.008 + 0.008 * traits.age) * pores)
    for x, y in rng.normal((0, 0.35), (0.45, 0.25), (traits.freckles, 2)):
        spot = ellipse(float(x), float(y), 0.014, 0.014, count=8)
        canvas.shade(traits.pose.on_face(spot), 0.72, 0.5)
    if traits.age > 0.6:
        for y in (-0.62, -0.78):
            line = points((-0.4, y), (0.0, y - 0.03), (0.4, y), (0.4, y + 0.03), (0.0, y), (-0.4, y + 0.03))
            canvas.shade(traits.pose.on_face(line), 0.92, 1.2)


def _white_noise(cover: Mask, rng: np.random.Generator) -> NDArray[np.float32]:
    """White noise of the size of a mask's extent."""
    return rng.standard_normal(cover[extent(cover)].shape, np.float32)


def _brightness(traits: Traits, area: tuple[slice, slice]) -> NDArray[np.float32]:
    """Lambert's law on an ellipsoid, around 0.95, for a rectangle of the image."""
    x, y = traits.pose.face_grid(area)
    u = x / np.float32(traits.face_width * 1.06) - np.float32(0.6 * traits.pose.yaw)
    v = (y - np.float32(0.12)) / np.float32(1.78) - np.float32(0.5 * traits.pose.pitch)
    towards = np.sqrt(np.clip(1 - u * u - v * v, 0.02, 1))
    towards_lamp = (np.array(traits.light) / np.linalg.norm(traits.light)).astype(np.float32)
    lambert = np.clip(u * towards_lamp[0] + v * towards_lamp[1] + towards * towards_lamp[2], 0, 1)
    return np.asarray(0.5 + 0.56 * lambert, np.float32)
