"""Faces are found where they were drawn, once, largest first; a detector file with another digest is refused."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.datasets.synthetic_faces.portrait import draw_portrait
from deepfake_detector.errors import ToolFailed
from deepfake_detector.media import face_detector
from deepfake_detector.media.face_detector import Face, FaceDetector


@pytest.mark.parametrize("seed", range(4))
def test_a_drawn_portrait_has_one_face(detector: FaceDetector, seed: int) -> None:
    found = detector.find(draw_portrait(np.random.default_rng(seed)))
    assert len(found) == 1
    assert found[0].score > 0.6
    assert 60 < found[0].side_px < 256
    right_eye, left_eye, nose, right_mouth, left_mouth = found[0].landmarks_px
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


def test_landmarks_are_in_pixels_of_the_image(detector: FaceDetector, portrait: NDArray[np.uint8]) -> None:
    wide = cv2.copyMakeBorder(portrait, 0, 0, 40, 200, cv2.BORDER_REPLICATE)
    near = detector.find(portrait)[0].landmarks_px + np.array([40, 0])
    np.testing.assert_allclose(detector.find(wide)[0].landmarks_px, near, atol=8)


def test_two_people_are_two_faces_largest_first(detector: FaceDetector, portrait: NDArray[np.uint8]) -> None:
    small = cv2.resize(draw_portrait(np.random.default_rng(8)), (128, 128), interpolation=cv2.INTER_AREA)
    both = np.full((256, 400, 3), 230, np.uint8)
    both[:128, :128], both[:, 144:] = small, portrait
    found = detector.find(both)
    assert len(found) == 2
    assert found[0].side_px > found[1].side_px
    assert found[0].box_px[0] > 144


def test_detection_is_deterministic(detector: FaceDetector, portrait: NDArray[np.uint8]) -> None:
    first = detector.find(portrait)[0]
    detector.find(np.ascontiguousarray(portrait[:100, :200]))  # another size in between changes nothing
    for other in (detector, FaceDetector()):
        again = other.find(portrait)[0]
        assert again.box_px == first.box_px
        assert again.score == first.score
        np.testing.assert_array_equal(again.landmarks_px, first.landmarks_px)


@pytest.mark.parametrize("shape", [(1, 1), (10, 10_000), (10_000, 10), (300, 300)])
def test_an_empty_image_has_no_face(detector: FaceDetector, shape: tuple[int, int]) -> None:
    assert detector.find(np.zeros((*shape, 3), np.uint8)) == []


def test_of_overlapping_boxes_the_one_with_the_highest_score_is_kept() -> None:
    points = np.zeros((5, 2), np.float32)
    best, inside = Face((0, 0, 100, 100), points, 0.9), Face((20, 20, 50, 60), points, 0.7)
    apart = Face((90, 90, 100, 100), points, 0.65)
    assert face_detector._without_duplicates([inside, apart, best]) == [best, apart]


def test_a_detector_file_with_another_digest_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.resources, "files", lambda name: tmp_path)
    face_detector.load_yunet.cache_clear()
    try:
        with pytest.raises(ToolFailed, match="missing"):
            FaceDetector()
        (tmp_path / face_detector.YUNET_FILE).write_bytes(b"another network")
        with pytest.raises(ToolFailed, match="SHA-256"):
            FaceDetector()
    finally:
        face_detector.load_yunet.cache_clear()


def test_rows_equal_those_of_opencv(portrait: NDArray[np.uint8]) -> None:
    image = np.concatenate([portrait[:, :250], cv2.resize(portrait, (202, 256))], axis=1)  # both sides need padding
    model = np.frombuffer(face_detector._read_yunet(), np.uint8)
    size = (image.shape[1], image.shape[0])
    opencv_detector = cv2.FaceDetectorYN.create("onnx", model, np.empty(0, np.uint8), size, 0.6, 0.3, 500)
    _, expected = opencv_detector.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    rows = face_detector.detect_rows(image, 0.6)
    assert len(rows) == len(expected) >= 2
    np.testing.assert_allclose(rows, expected, atol=0.01)
