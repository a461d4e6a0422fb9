"""RGB image uint8 (height, width, 3) and its face -> the region around the face with a random size, codec and quality.

Sources and classes differ in resolution, sharpness and compression history, and a network learns that first. Copies of
all training pictures are therefore degraded with the same probabilities, before the face is found and cropped. With
such copies a head on frozen features loses 0.02 to 0.05 AUC on left-out sources when their files are recompressed,
without them 0.2 (docs/generalization.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.media.corruptions import (
    INTERPOLATIONS,
    SMOOTH_INTERPOLATIONS,
    SUBSAMPLINGS,
    Encoder,
    blur,
    h264,
    jpeg,
    noise,
    pick,
    webp,
)
from deepfake_detector.media.face_alignment import crop_corners
from deepfake_detector.media.face_detector import Face

Pixels = NDArray[np.uint8]

SQUARE_PX = (96.0, 256.0)  # side of FFHQ's square in a copy, log-uniform; faces are never enlarged
REGION_SCALE = 1.35  # of the region over FFHQ's square: YuNet needs the surroundings of a face
GRID_PX = 16  # corners of regions lie anywhere on the grid of 8 or 16 px in which files were saved before
MIN_SIDE_PX = 32
BLUR_SHARE, BLUR_SIGMA_PX = 0.30, (0.3, 1.3)
NOISE_SHARE, NOISE_LEVELS = 0.15, (0.5, 5.0)
UNSAVED_SHARE, H264_SHARE, WEBP_SHARE = 0.10, 0.15, 0.15  # the rest is JPEG
SECOND_SAVE_SHARE = 0.15
QUALITIES, CRFS = (40, 96), (17, 35)  # lowest and highest
SAME_FACE_DISTANCE = 0.2  # mean distance of two faces' landmarks, in sides of the box


def match_degradation(rgb: Pixels, face: Face, rng: np.random.Generator) -> tuple[Pixels, Face]:
    """Cut the region around a face, shrink, blur, add noise, and save it once or twice, each by its own probability.

    Args:
        rgb: (height, width, 3), the image the face was found in.
        face: the face.
        rng: the same state gives the same region.

    Returns:
        The region, uint8 (height, width, 3), and where the face should lie in it. Landmarks move by a fraction of a
        pixel when an image is degraded: find the face anew, and take the one that `same_face` names.
    """
    region, corner_px, square_px = cut_region(rgb, face, rng)
    low, high = np.log(SQUARE_PX)
    region, scale = _shrink(region, float(np.exp(rng.uniform(low, high))) / square_px, rng)
    if rng.random() < BLUR_SHARE:
        region = blur(region, rng.uniform(*BLUR_SIGMA_PX))
    if rng.random() < NOISE_SHARE:
        region = noise(region, rng.uniform(*NOISE_LEVELS), rng)
    region = _save(region, rng)
    if rng.random() < SECOND_SAVE_SHARE:
        region = _save(region, rng)
    return np.ascontiguousarray(region), moved_face(face, corner_px, scale)


def cut_region(rgb: Pixels, face: Face, rng: np.random.Generator) -> tuple[Pixels, NDArray[np.float32], float]:
    """Cut the surroundings of a face, 1.35 of FFHQ's square; the corner lies anywhere on the file's grid of 8 px.

    Returns:
        The region (a view), its top left corner (2,) x and y, and the side of FFHQ's square, px of the image.
    """
    corners = crop_corners(face, 1.0)
    centre, half = corners.mean(axis=0), np.ptp(corners, axis=0) / 2 * REGION_SCALE
    height_px, width_px = rgb.shape[:2]
    left, top = (max(0, int(low) - int(rng.integers(GRID_PX))) for low in centre - half)
    # A region that begins at the edge of the image would keep the grid of the file.
    left, top = (int(rng.integers(4)) if corner == 0 else corner for corner in (left, top))
    right, bottom = min(width_px, int(centre[0] + half[0])), min(height_px, int(centre[1] + half[1]))
    region = rgb[top : max(bottom, top + 1), left : max(right, left + 1)]
    return region, np.array([left, top], np.float32), float(np.hypot(*(corners[1] - corners[0])))


def moved_face(face: Face, corner_px: NDArray[np.float32], scale: NDArray[np.float32]) -> Face:
    """The face in px of a region that begins at `corner_px` (2,) and was then scaled by `scale` (2,), x and y."""
    x, y, width, height = face.box_px
    left, top = (np.array([x, y]) - corner_px) * scale
    box_px = (float(left), float(top), float(width * scale[0]), float(height * scale[1]))
    landmarks_px = ((face.landmarks_px - corner_px) * scale).astype(np.float32)
    return replace(face, box_px=box_px, landmarks_px=landmarks_px)


def same_face(faces: Iterable[Face], expected: Face) -> Face | None:
    """The face whose landmarks lie nearest to those expected; None if all are somewhere else."""
    distances = [(_distance(face, expected), face) for face in faces]
    near = [(distance, face) for distance, face in distances if distance <= SAME_FACE_DISTANCE * expected.side_px]
    return min(near, key=lambda pair: pair[0])[1] if near else None


def _shrink(region: Pixels, factor: float, rng: np.random.Generator) -> tuple[Pixels, NDArray[np.float32]]:
    """The region shrunk by `factor`, if that is below 1, and the exact factors (2,) of width and height."""
    name = pick(SMOOTH_INTERPOLATIONS, rng)
    if factor >= 1:
        return region, np.ones(2, np.float32)
    height_px, width_px = region.shape[:2]
    size = tuple(max(MIN_SIDE_PX, round(side * factor)) for side in (width_px, height_px))
    mode = cv2.INTER_AREA if factor < 0.5 else INTERPOLATIONS[name]  # the others would skip pixels
    shrunk = np.asarray(cv2.resize(region, size, interpolation=mode), np.uint8)
    return shrunk, np.array([size[0] / width_px, size[1] / height_px], np.float32)


def _save(region: Pixels, rng: np.random.Generator) -> Pixels:
    """Encode and decode by a random codec, or not at all."""
    codec, quality = rng.random(), int(rng.integers(QUALITIES[0], QUALITIES[1] + 1))
    if codec < UNSAVED_SHARE:
        return region
    region = np.ascontiguousarray(region)
    if codec < UNSAVED_SHARE + H264_SHARE:
        return h264(region, int(rng.integers(CRFS[0], CRFS[1] + 1)))
    encoder: Encoder = "opencv" if rng.random() < 0.5 else "pillow"
    if codec < UNSAVED_SHARE + H264_SHARE + WEBP_SHARE:
        return webp(region, quality, encoder)
    return jpeg(region, quality, encoder, pick(SUBSAMPLINGS, rng))


def _distance(one: Face, other: Face) -> float:
    return float(np.hypot(*(one.landmarks_px - other.landmarks_px).T).mean())
