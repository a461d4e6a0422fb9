"""Real face crop uint8 (side, side, 3), landmarks (5, 2) px -> the crop with a changed copy of itself blended in.

Every face swap leaves two traces: a border between two images, and an inside whose colour, sharpness and position do
not quite fit the outside. Self-blending makes both from one real face, so that a network learns the traces and not one
tool's. Source: Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR 2022, adapted to five
landmarks.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.media.corruptions import SMOOTH_INTERPOLATIONS, adjust_colour, affine, blur, downscale, pick

Pixels = NDArray[np.uint8]
Points = NDArray[np.float32]  # (5, 2)
MAX_SHIFT, MAX_SCALE = 0.03, 0.05  # of the copy against the face, as shares of the crop's side and of itself
OPACITIES = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # of the copy; mostly opaque, as in swaps


def self_blend(crop: Pixels, landmarks_px: Points, rng: np.random.Generator) -> Pixels:
    """Blend a shifted, recoloured, blurred or sharpened copy of a face into itself, under a soft mask.

    Args:
        crop: uint8 (side, side, 3).
        landmarks_px: (5, 2) x and y in the crop: two eyes, nose, two mouth corners.
        rng: the same state gives the same crop.

    Returns:
        uint8 (side, side, 3).
    """
    side_px = crop.shape[0]
    inside, outside = _changed_copy(crop, rng), crop
    if rng.random() < 0.5:  # either of the two may be the changed one
        inside, outside = outside, inside
    shift_px = tuple(rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * side_px)
    scale = 1 + rng.uniform(-MAX_SCALE, MAX_SCALE)
    inside = affine(inside, rng.uniform(-2, 2), scale, shift_px, pick(SMOOTH_INTERPOLATIONS, rng))
    # Single precision: `choice` gives a double, with which NumPy needs five times as long for the next three lines.
    mask = face_mask(side_px, landmarks_px, rng)[..., None] * np.float32(rng.choice(OPACITIES))
    background = outside.astype(np.float32)
    return np.asarray(np.rint(background + (inside - background) * mask), np.uint8)


def face_mask(side_px: int, landmarks_px: Points, rng: np.random.Generator) -> NDArray[np.float32]:
    """A soft mask (side, side), 0 to 1, of random shape over the face or a part of it."""
    filled = np.zeros((side_px, side_px), np.uint8)
    outline = _outline(landmarks_px, rng) + rng.normal(0, 0.01 * side_px, (1, 2))
    cv2.fillConvexPoly(filled, cv2.convexHull(np.rint(outline).astype(np.int32)), 255)
    mask = _elastic(filled.astype(np.float32) / np.float32(255), rng)
    # Blur, clip at a random level, blur again: the border moves in or out before it becomes soft.
    mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.005, 0.04) * side_px)
    mask = np.clip(mask / np.float32(rng.uniform(0.3, 1.0)), 0, 1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.004, 0.04) * side_px), np.float32)


def _changed_copy(crop: Pixels, rng: np.random.Generator) -> Pixels:
    """The crop with other colours and another sharpness."""
    copy = adjust_colour(
        crop,
        brightness=rng.uniform(-15, 15),
        contrast=rng.uniform(0.85, 1.15),
        saturation=rng.uniform(0.75, 1.25),
        gamma=rng.uniform(0.85, 1.15),
    )
    copy = np.asarray(np.clip(copy + rng.uniform(-10, 10, 3), 0, 255), np.uint8)
    change = rng.random()
    if change < 0.35:
        return downscale(copy, rng.uniform(0.3, 0.9), "area", pick(SMOOTH_INTERPOLATIONS, rng))
    if change < 0.5:
        return blur(copy, rng.uniform(0.4, 1.2))
    if change < 0.8:  # unsharp masking
        amount = rng.uniform(0.3, 1.2)
        return np.asarray(cv2.addWeighted(copy, 1 + amount, blur(copy, 1.0), -amount, 0), np.uint8)
    return copy


def _outline(landmarks_px: Points, rng: np.random.Generator) -> NDArray[np.float64]:
    """Points (24, 2) around the whole face, its inner part, the mouth or the eyes."""
    points = landmarks_px.astype(np.float64)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    down = mouth - eyes
    across = np.array([down[1], -down[0]])  # as long as `down`, towards the image's right
    centre = (eyes + mouth) / 2 + down * rng.uniform(0.0, 0.2)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    part = rng.choice(4, p=(0.5, 0.2, 0.15, 0.15))
    if part == 0:  # the whole face, brows to chin, as most swaps paste it
        wide, high = rng.uniform(0.75, 1.05), rng.uniform(0.95, 1.35)
    elif part == 1:  # eyes, nose and mouth
        wide, high = rng.uniform(0.6, 0.8), rng.uniform(0.7, 0.95)
    elif part == 2:  # the mouth, as reenactment changes it
        centre, wide, high = mouth + down * 0.05, rng.uniform(0.4, 0.7), rng.uniform(0.25, 0.5)
    else:  # the eyes
        centre, wide, high = eyes, rng.uniform(0.6, 0.9), rng.uniform(0.2, 0.4)
    ellipse = np.cos(angles)[:, None] * across * wide + np.sin(angles)[:, None] * down * high
    outline: NDArray[np.float64] = centre + ellipse * rng.uniform(0.92, 1.08, (len(angles), 1))
    return outline


def _elastic(mask: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Deform a mask (side, side) by a smooth random field, so that its border is no ellipse."""
    side_px = mask.shape[0]
    field = rng.uniform(-1, 1, (2, 6, 6)).astype(np.float32) * 0.06 * side_px
    grid = np.arange(side_px, dtype=np.float32)
    right, down = (cv2.resize(coarse, (side_px, side_px), interpolation=cv2.INTER_CUBIC) for coarse in field)
    return np.asarray(cv2.remap(mask, grid[None] + right, grid[:, None] + down, cv2.INTER_LINEAR), np.float32)
