"""RGB image uint8 (height, width, 3) and a face -> an upright crop uint8 (side, side, 3), or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.media.face_detector import Face

# Crops are sampled at twice their side, then averaged. Measured on noise: where the image is first shrunk by the next
# whole factor (at 512 px for a crop of 128) detail changes by 13 %; with 4 instead of 2 by 8 %, in five times the time.
OVERSAMPLING = 2
CENTRE_SHIFT = 1.1  # at scale 0.6 the crop's centre lies 0.54 of the way from the eyes to the mouth
FACE_SHARPNESS_SIDE_PX = 128  # sharpness is measured on FFHQ's square at this side, whatever the model's crop
# Variance of the Laplacian there: 800 photographs of 140k have at least 200, the same blurred by 6 px at most 17.
# Of 389 DFDC crops 5 % lie below, all of them dark or smeared.
MIN_SHARPNESS = 20.0
# Distance of the nose from the midpoint of the eyes, in eye distances: 4 of 800 photographs of 140k exceed it, all of
# them half profiles or more.
MAX_NOSE_SHIFT = 0.6
# Share of a face's pixels that stand out from their smoothed surroundings, at 256 px at most. Measured on 104 faces of
# 140k and DFDC: at most 0.17, with noise 0.20, shrunk by Lanczos 0.21; sharpened twice by Pillow, of 140k, 0.21 to 0.56
# (the model calls 28 of 39 such real faces fake); with 1 bit per pixel, dithered, 0.69 or more.
MAX_OVERSHOOT = 0.23
OVERSHOOT_SHARPNESS = (
    1000.0  # measured from here on: one portrait in ten; of the sharpened ones the least sharp has 1194
)
OVERSHOOT_SIDE_PX, OVERSHOOT_SIGMA_PX, OVERSHOOT_LEVELS, OVERSHOOT_REACH_PX = 256, 1.6, 6, 5


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """A face and its crop, or the problem because of which it gets no score.

    Attributes:
        face: as the detector found it.
        pixels: uint8 (side, side, 3) RGB; None when there is a problem.
        problem: one clause for people, for example "the face is 41 px, at least 64 are needed"; None with a crop.
    """

    face: Face
    pixels: NDArray[np.uint8] | None
    problem: str | None = None


def crop_face(rgb: NDArray[np.uint8], face: Face, side_px: int, min_face_px: float, scale: float = 1.0) -> FaceCrop:
    """Crop a face that is large, frontal and sharp enough; training and serving both reject faces here.

    Args:
        rgb: uint8 (height, width, 3), the image the face was found in.
        face: the face.
        side_px: side of the crop.
        min_face_px: smallest accepted side of the box.
        scale: of the square, see `align_face`.
    """
    problem = _size_or_pose_problem(face, min_face_px)
    if problem is not None:
        return FaceCrop(face, None, problem)
    crop = align_face(rgb, face, side_px, scale)
    measurable = side_px == FACE_SHARPNESS_SIDE_PX and scale == 1
    sharpness = _sharpness(crop if measurable else align_face(rgb, face, FACE_SHARPNESS_SIDE_PX))
    problem = _blur_problem(sharpness) if sharpness < OVERSHOOT_SHARPNESS else _overshoot_problem(rgb, face)
    return FaceCrop(face, None, problem) if problem is not None else FaceCrop(face, crop)


def align_face(rgb: NDArray[np.uint8], face: Face, side_px: int, scale: float = 1.0) -> NDArray[np.uint8]:
    """Crop a face as FFHQ does, upright and with its eyes at fixed positions.

    At scale 1 a frontal face has its eyes at (0.375, 0.472) and (0.625, 0.472) of the crop. Beyond its border the
    image is mirrored. Source: NVlabs/ffhq-dataset.

    Args:
        rgb: uint8 (height, width, 3), the image the face was found in.
        face: the face.
        side_px: side of the crop.
        scale: side of the square over that of FFHQ's; below 1 the crop shows only brows to chin.

    Returns:
        uint8 (side_px, side_px, 3).
    """
    centre, x_axis = _square(face.landmarks_px, scale)
    square_px = 2 * float(np.hypot(*x_axis))
    shrink = max(1, int(square_px / (OVERSAMPLING * side_px)))
    region, offset = _region(rgb, centre, x_axis, shrink)
    fine_px = OVERSAMPLING * side_px
    fine = cv2.warpAffine(
        region,
        _crop_to_region(centre - offset, x_axis, fine_px, shrink),
        (fine_px, fine_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(cv2.resize(fine, (side_px, side_px), interpolation=cv2.INTER_AREA), np.uint8)


def landmarks_in_crop(face: Face, side_px: int, scale: float) -> NDArray[np.float32]:
    """Positions of the landmarks in the crop that `align_face` makes: (5, 2), x and y in px from its edges."""
    centre, x_axis = _square(face.landmarks_px, scale)
    y_axis = _perpendicular(x_axis)
    step = np.stack([x_axis, y_axis], axis=1) * 2 / side_px
    top_left = centre - x_axis - y_axis
    return np.asarray(np.linalg.solve(step, (face.landmarks_px.astype(np.float64) - top_left).T).T, np.float32)


def crop_corners(face: Face, scale: float) -> NDArray[np.float32]:
    """Corners of the square that `align_face` crops: (4, 2), clockwise from its top left, px of the image."""
    centre, x = _square(face.landmarks_px, scale)
    y = _perpendicular(x)
    return np.asarray([centre - x - y, centre + x - y, centre + x + y, centre - x + y], np.float32)


def _size_or_pose_problem(face: Face, min_face_px: float) -> str | None:
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


def _overshoot_problem(rgb: NDArray[np.uint8], face: Face) -> str | None:
    share = measure_overshoot(rgb, face)
    if share <= MAX_OVERSHOOT:
        return None
    return (
        "the face is dithered or too strongly sharpened "
        f"({share:.0%} of its pixels stand out, at most {MAX_OVERSHOOT:.0%} may)"
    )


def measure_overshoot(rgb: NDArray[np.uint8], face: Face) -> float:
    """Share of the pixels in the face's box that are clearly lighter or darker than their smoothed surroundings.

    Args:
        rgb: uint8 (height, width, 3).
        face: found in it.

    Returns:
        0 to 1; 0 where the box lies outside the image.
    """
    x, y, width, height = face.box_px
    left, top = max(int(x), 0), max(int(y), 0)
    region = rgb[top : max(int(y + height), 0), left : max(int(x + width), 0)]
    if region.size == 0:
        return 0.0
    grey = cv2.cvtColor(np.ascontiguousarray(region), cv2.COLOR_RGB2GRAY)
    shrink = max(grey.shape) // OVERSHOOT_SIDE_PX
    if shrink > 1:
        size = (max(1, grey.shape[1] // shrink), max(1, grey.shape[0] // shrink))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(grey, (0, 0), OVERSHOOT_SIGMA_PX)
    reach = np.ones((OVERSHOOT_REACH_PX, OVERSHOOT_REACH_PX), np.uint8)
    lighter = cv2.subtract(grey, cv2.dilate(smooth, reach)) > OVERSHOOT_LEVELS  # saturates at 0
    darker = cv2.subtract(cv2.erode(smooth, reach), grey) > OVERSHOOT_LEVELS
    return float(np.mean(lighter | darker))


def _sharpness(crop: NDArray[np.uint8]) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())


def _blur_problem(sharpness: float) -> str | None:
    if sharpness >= MIN_SHARPNESS:
        return None
    return f"the face is too blurred or too dark (sharpness {sharpness:.0f}, at least {MIN_SHARPNESS:.0f} is needed)"


def _square(landmarks_px: NDArray[np.float32], scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre (2,) of the square and the vector (2,) from it to the midpoint of its right side, px."""
    eye_left, eye_right, _, mouth_left, mouth_right = landmarks_px.astype(np.float64)  # left and right of the image
    eye_centre = (eye_left + eye_right) / 2
    eye_to_eye = eye_right - eye_left
    eye_to_mouth = (mouth_left + mouth_right) / 2 - eye_centre
    x_axis = eye_to_eye - _perpendicular(eye_to_mouth)
    length = float(np.hypot(*x_axis))
    half_side = max(2.0 * float(np.hypot(*eye_to_eye)), 1.8 * float(np.hypot(*eye_to_mouth)))
    unit = x_axis / length if length > 0 else np.array([1.0, 0.0])
    # FFHQ's centre is the root of the nose; a smaller square moves towards its tip, to keep the chin.
    return eye_centre + (0.1 + CENTRE_SHIFT * (1 - scale)) * eye_to_mouth, unit * max(half_side * scale, 1.0)


def _perpendicular(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """A vector (2,) turned by a quarter: right becomes down."""
    return vector[::-1] * (-1, 1)


def _region(
    rgb: NDArray[np.uint8], centre: NDArray[np.float64], x_axis: NDArray[np.float64], shrink: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The part of the image that the square needs, shrunk by a whole factor, and its top left corner in px."""
    height_px, width_px = rgb.shape[:2]
    reach = float(np.abs(x_axis).sum()) + 3 * shrink
    left = int(min(max(math.floor(centre[0] - reach), 0), max(width_px - shrink, 0)))
    top = int(min(max(math.floor(centre[1] - reach), 0), max(height_px - shrink, 0)))
    right = min(max(math.ceil(centre[0] + reach), left + shrink), width_px)
    bottom = min(max(math.ceil(centre[1] + reach), top + shrink), height_px)
    columns, rows = max(1, (right - left) // shrink), max(1, (bottom - top) // shrink)
    region = rgb[top : top + rows * shrink, left : left + columns * shrink]
    if shrink > 1:
        region = np.asarray(cv2.resize(region, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    return region, np.array([left, top], np.float64)


def _crop_to_region(
    centre: NDArray[np.float64], x_axis: NDArray[np.float64], side_px: int, shrink: int
) -> NDArray[np.float64]:
    """Affine map (2, 3) from pixel indices of the crop to pixel indices of the shrunk region."""
    y_axis = _perpendicular(x_axis)
    step = np.stack([x_axis, y_axis], axis=1) * 2 / side_px
    # The centre of pixel i lies at i + 0.5, in the crop, in the region and in the shrunk region.
    origin = centre - x_axis - y_axis + step @ (0.5, 0.5)
    return np.concatenate([step / shrink, ((origin / shrink) - 0.5)[:, None]], axis=1)
