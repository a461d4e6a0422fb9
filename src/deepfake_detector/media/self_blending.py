"""Real face crop uint8 (side, side, 3) and its landmarks (5, 2) px -> the crop with a copy of itself blended in.

A face swap leaves two things whatever tool made it: a border between two pictures, and an inside whose colour,
sharpness and place do not quite fit the outside. Both are made here from one real face, so a network that learns them
learns no particular tool. Idea: Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR 2022,
rewritten for five landmarks.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.media.corruptions import blur, recolour, shrink_and_enlarge, turn

Pixels = NDArray[np.uint8]
Places = NDArray[np.float32]
SMOOTH = ("linear", "cubic", "area", "lanczos")  # blocks of nearest neighbours would give the copy away at once
MAX_SHIFT, MAX_SCALE = 0.03, 0.05  # of the copy against the face, as shares of the crop's side and of itself
RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # opacity of the copy; whole ones are the commonest, as in swaps


def self_blend(crop: Pixels, landmarks_px: Places, random: np.random.Generator) -> Pixels:
    """Blend a shifted, recoloured, blurred or sharpened copy of a face into itself, under a soft mask.

    Args:
        crop: uint8 (side, side, 3).
        landmarks_px: (5, 2) x and y in the crop: two eyes, nose, two mouth corners.
        random: decides everything; the same state gives the same crop.

    Returns:
        uint8 (side, side, 3).
    """
    side_px = crop.shape[0]
    inside, outside = _unlike(crop, random), crop
    if random.random() < 0.5:  # which of the two pictures is the odd one is a matter of taste
        inside, outside = outside, inside
    shift_px = tuple(random.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * side_px)
    scale = 1 + random.uniform(-MAX_SCALE, MAX_SCALE)
    inside = turn(inside, random.uniform(-2, 2), scale, shift_px, _any(random))
    # In single precision: NumPy would take a double from `choice` and need five times as long for the three lines.
    mask = face_mask(side_px, landmarks_px, random)[..., None] * np.float32(random.choice(RATIOS))
    whole = outside.astype(np.float32)
    return np.asarray(np.rint(whole + (inside - whole) * mask), np.uint8)


def face_mask(side_px: int, landmarks_px: Places, random: np.random.Generator) -> NDArray[np.float32]:
    """A soft mask (side, side), 0 to 1, over the face or a part of it, of a random shape."""
    filled = np.zeros((side_px, side_px), np.uint8)
    outline = _outline(landmarks_px, random) + random.normal(0, 0.01 * side_px, (1, 2))
    cv2.fillConvexPoly(filled, cv2.convexHull(np.rint(outline).astype(np.int32)), 255)
    mask = _warped(filled.astype(np.float32) / np.float32(255), random)
    # Blurred, cut at a random level and blurred again: the border moves in or out before it becomes soft.
    mask = cv2.GaussianBlur(mask, (0, 0), random.uniform(0.005, 0.04) * side_px)
    mask = np.clip(mask / np.float32(random.uniform(0.3, 1.0)), 0, 1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), random.uniform(0.004, 0.04) * side_px), np.float32)


def _outline(landmarks_px: Places, random: np.random.Generator) -> NDArray[np.float64]:
    """Points (n, 2) around the whole face, its inner part, or its lower part."""
    points = landmarks_px.astype(np.float64)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    down = mouth - eyes
    across = np.array([down[1], -down[0]])  # as long as `down`, towards the picture's right
    middle = (eyes + mouth) / 2 + down * random.uniform(0.0, 0.2)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    shape = random.choice(4, p=(0.5, 0.2, 0.15, 0.15))
    if shape == 0:  # the whole face, brows to chin, as most swaps paste it
        wide, high = random.uniform(0.75, 1.05), random.uniform(0.95, 1.35)
    elif shape == 1:  # eyes, nose and mouth
        wide, high = random.uniform(0.6, 0.8), random.uniform(0.7, 0.95)
    elif shape == 2:  # the mouth, as reenactment changes it
        middle, wide, high = mouth + down * 0.05, random.uniform(0.4, 0.7), random.uniform(0.25, 0.5)
    else:  # the eyes
        middle, wide, high = eyes, random.uniform(0.6, 0.9), random.uniform(0.2, 0.4)
    ring = np.cos(angles)[:, None] * across * wide + np.sin(angles)[:, None] * down * high
    around: NDArray[np.float64] = middle + ring * random.uniform(0.92, 1.08, (len(angles), 1))
    return around


def _unlike(crop: Pixels, random: np.random.Generator) -> Pixels:
    """The crop in another light and of another sharpness."""
    odd = recolour(
        crop,
        brightness=random.uniform(-15, 15),
        contrast=random.uniform(0.85, 1.15),
        saturation=random.uniform(0.75, 1.25),
        gamma=random.uniform(0.85, 1.15),
    )
    odd = np.asarray(np.clip(odd + random.uniform(-10, 10, 3), 0, 255), np.uint8)
    what = random.random()
    if what < 0.35:
        return shrink_and_enlarge(odd, random.uniform(0.3, 0.9), "area", _any(random))
    if what < 0.5:
        return blur(odd, random.uniform(0.4, 1.2))
    if what < 0.8:  # sharpened: what the blur took away is added once more
        strength = random.uniform(0.3, 1.2)
        return np.asarray(cv2.addWeighted(odd, 1 + strength, blur(odd, 1.0), -strength, 0), np.uint8)
    return odd


def _warped(mask: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Bend a mask (side, side) by a smooth random field, so that its border is no ellipse."""
    side_px = mask.shape[0]
    field = random.uniform(-1, 1, (2, 6, 6)).astype(np.float32) * 0.06 * side_px
    grid = np.arange(side_px, dtype=np.float32)
    right, down = (cv2.resize(way, (side_px, side_px), interpolation=cv2.INTER_CUBIC) for way in field)
    return np.asarray(cv2.remap(mask, grid[None] + right, grid[:, None] + down, cv2.INTER_LINEAR), np.float32)


def _any(random: np.random.Generator) -> str:
    return SMOOTH[random.integers(len(SMOOTH))]
