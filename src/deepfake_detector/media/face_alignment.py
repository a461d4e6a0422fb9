"""A picture and a face in it -> an upright crop uint8 (side, side, 3), or the reason why the face cannot be judged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.media.face_detector import Face

# Crops are cut at twice their side, then averaged. Measured on noise: where shrinking by the next whole factor sets in
# (at 512 px for a crop of 128) detail changes by 13 %, by 8 % with 4 instead of 2, which takes five times as long.
OVERSAMPLING = 2
SINKING = 1.1  # at scale 0.6 the middle lies 0.54 of the way from the eyes to the mouth
JUDGED_SIDE_PX = 128  # sharpness is measured on FFHQ's square at this side, whatever the model sees
# Variance of the Laplacian there: 800 photographs of 140k have at least 200, the same blurred by 6 px at most 17.
# Of 389 DFDC crops 5 % lie below, all of them dark or smeared.
MIN_SHARPNESS = 20.0
# Nose from the middle between the eyes, in eye distances: 4 of 800 photographs of 140k lie beyond, all turned to a
# half profile or more.
MAX_NOSE_SHIFT = 0.6


@dataclass(frozen=True, eq=False)
class Cut:
    """What became of one face: its crop, or the problem that forbids to judge it.

    Attributes:
        face: where it was found.
        pixels: uint8 (side, side, 3) RGB; None when there is a problem.
        problem: one clause for people, for example "the face is 41 px, at least 64 are needed"; None with a crop.
    """

    face: Face
    pixels: NDArray[np.uint8] | None
    problem: str | None = None


def cut(rgb: NDArray[np.uint8], face: Face, side_px: int, min_face_px: float, scale: float = 1.0) -> Cut:
    """Cut a face out if it can be judged; training and serving both ask here, so that they refuse the same faces.

    Args:
        rgb: uint8 (height, width, 3), the picture the face was found in.
        face: where.
        side_px: side of the crop.
        min_face_px: smallest side of the box that is judged.
        scale: of the square cut out, see `align`.
    """
    problem = _pose_problem(face, min_face_px)
    if problem is not None:
        return Cut(face, None, problem)
    crop = align(rgb, face, side_px, scale)
    as_measured = side_px == JUDGED_SIDE_PX and scale == 1
    problem = _blur_problem(crop if as_measured else align(rgb, face, JUDGED_SIDE_PX))
    return Cut(face, None, problem) if problem is not None else Cut(face, crop)


def align(rgb: NDArray[np.uint8], face: Face, side_px: int, scale: float = 1.0) -> NDArray[np.uint8]:
    """Cut a face out as FFHQ does, upright and with its eyes at fixed places.

    At scale 1 a frontal face has its eyes at (0.375, 0.472) and (0.625, 0.472) of the crop. What lies beyond the
    picture is its mirror image. Source: NVlabs/ffhq-dataset.

    Args:
        rgb: uint8 (height, width, 3), the picture the face was found in.
        face: where.
        side_px: side of the crop.
        scale: side of the square over that of FFHQ's; a smaller one closes in on brows to chin.

    Returns:
        uint8 (side_px, side_px, 3).
    """
    centre, x = _square(face.landmarks_px, scale)
    side_in_px = 2 * float(np.hypot(*x))
    shrink = max(1, int(side_in_px / (OVERSAMPLING * side_px)))
    region, offset = _region(rgb, centre, x, shrink)
    fine_px = OVERSAMPLING * side_px
    to_region = _crop_to_picture(centre - offset, x, fine_px, shrink)
    fine = cv2.warpAffine(
        region,
        to_region,
        (fine_px, fine_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(cv2.resize(fine, (side_px, side_px), interpolation=cv2.INTER_AREA), np.uint8)


def _pose_problem(face: Face, min_face_px: float) -> str | None:
    if face.side_px < min_face_px:
        return f"the face is {face.side_px:.0f} px, at least {min_face_px:.0f} are needed"
    shift = _nose_shift(face.landmarks_px)
    if shift > MAX_NOSE_SHIFT:
        return f"the face is turned too far to the side (nose {shift:.2f} eye distances off, at most {MAX_NOSE_SHIFT})"
    return None


def _nose_shift(landmarks_px: NDArray[np.float32]) -> float:
    eye_left, eye_right, nose = landmarks_px[:3].astype(np.float64)
    eye_to_eye = eye_right - eye_left
    squared = float(eye_to_eye @ eye_to_eye)
    return abs(float((nose - (eye_left + eye_right) / 2) @ eye_to_eye)) / squared if squared > 0 else math.inf


def _blur_problem(crop: NDArray[np.uint8]) -> str | None:
    sharpness = float(cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())
    if sharpness >= MIN_SHARPNESS:
        return None
    return f"the face is too blurred or too dark (sharpness {sharpness:.0f}, at least {MIN_SHARPNESS:.0f} is needed)"


def place_in_crop(face: Face, side_px: int, scale: float) -> NDArray[np.float32]:
    """Where the landmarks lie in the crop that `align` cuts: (5, 2), x and y in px from its edges."""
    centre, x = _square(face.landmarks_px, scale)
    y = x[::-1] * (-1, 1)
    step = np.stack([x, y], axis=1) * 2 / side_px
    found = np.linalg.solve(step, (face.landmarks_px.astype(np.float64) - (centre - x - y)).T).T
    return np.asarray(found, np.float32)


def corners(face: Face, scale: float) -> NDArray[np.float32]:
    """Where the corners of the square that `align` cuts lie: (4, 2), clockwise from its top left, px of the picture."""
    centre, x = _square(face.landmarks_px, scale)
    y = x[::-1] * (-1, 1)
    return np.asarray([centre - x - y, centre + x - y, centre + x + y, centre - x + y], np.float32)


def _square(landmarks_px: NDArray[np.float32], scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre (2,) of the square and the vector (2,) from it to the middle of its right side, px."""
    eye_left, eye_right, _, mouth_left, mouth_right = landmarks_px.astype(np.float64)  # left and right of the picture
    eye_centre = (eye_left + eye_right) / 2
    eye_to_eye = eye_right - eye_left
    eye_to_mouth = (mouth_left + mouth_right) / 2 - eye_centre
    x = eye_to_eye - eye_to_mouth[::-1] * (-1, 1)
    length = float(np.hypot(*x))
    reach = max(2.0 * float(np.hypot(*eye_to_eye)), 1.8 * float(np.hypot(*eye_to_mouth)))
    unit = x / length if length > 0 else np.array([1.0, 0.0])
    # FFHQ's middle is the nose's root; a square that closes in sinks towards its tip, to keep the chin.
    return eye_centre + (0.1 + SINKING * (1 - scale)) * eye_to_mouth, unit * max(reach * scale, 1.0)


def _region(
    rgb: NDArray[np.uint8], centre: NDArray[np.float64], x: NDArray[np.float64], shrink: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The part of the picture that the square needs, shrunk by a whole factor, and its top left corner in px."""
    height_px, width_px = rgb.shape[:2]
    reach = float(np.abs(x).sum()) + 3 * shrink
    left = int(min(max(math.floor(centre[0] - reach), 0), max(width_px - shrink, 0)))
    top = int(min(max(math.floor(centre[1] - reach), 0), max(height_px - shrink, 0)))
    right = min(max(math.ceil(centre[0] + reach), left + shrink), width_px)
    bottom = min(max(math.ceil(centre[1] + reach), top + shrink), height_px)
    columns, rows = max(1, (right - left) // shrink), max(1, (bottom - top) // shrink)
    region = rgb[top : top + rows * shrink, left : left + columns * shrink]
    if shrink > 1:
        region = np.asarray(cv2.resize(region, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    return region, np.array([left, top], np.float64)


def _crop_to_picture(
    centre: NDArray[np.float64], x: NDArray[np.float64], side_px: int, shrink: int
) -> NDArray[np.float64]:
    """Affine map (2, 3) from pixel indices of the crop to pixel indices of the shrunk region."""
    y = x[::-1] * (-1, 1)
    step = np.stack([x, y], axis=1) * 2 / side_px
    # Pixel i has its middle at i + 0.5, in the crop, in the region and in the shrunk region.
    origin = centre - x - y + step @ (0.5, 0.5)
    return np.concatenate([step / shrink, ((origin / shrink) - 0.5)[:, None]], axis=1)
