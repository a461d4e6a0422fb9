"""Faces, also turned and small ones, are found where they were drawn, once; another detector file is refused."""

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
from deepfake_detector.media.face_alignment import align_face
from deepfake_detector.media.face_detector import Face, FaceDetector
from deepfake_detector.validation.image_record import face_from_columns, face_to_columns


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


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_a_turned_face_is_found_as_in_the_upright_image(detector: FaceDetector, seed: int, turns: int) -> None:
    """Without the search at every turn an upside-down face has upright landmarks, and is cropped upside down."""
    rgb = draw_portrait(np.random.default_rng(seed))
    upright, turned = detector.find(rgb)[0], detector.find(np.ascontiguousarray(np.rot90(rgb, turns)))
    assert len(turned) == 1
    assert turned[0].score == pytest.approx(upright.score, abs=0.02)
    centre = (128, 128)
    angle = turns * np.pi / 2
    # anticlockwise on an axis that points down
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    expected = (upright.landmarks_px - centre) @ rotation.T + centre
    np.testing.assert_allclose(turned[0].landmarks_px, expected, atol=4)


def test_turned_faces_are_cropped_upright(detector: FaceDetector, portrait: NDArray[np.uint8]) -> None:
    expected = align_face(portrait, detector.find(portrait)[0], 96).astype(float)
    for turns in (1, 2, 3):
        rgb = np.ascontiguousarray(np.rot90(portrait, turns))
        crop = align_face(rgb, detector.find(rgb)[0], 96)
        assert np.abs(crop - expected).mean() < 6


def test_a_turned_face_keeps_its_values_in_a_manifest(detector: FaceDetector, portrait: NDArray[np.uint8]) -> None:
    """`validate` stores it in fifteen float32 columns, and `prepare` crops the same pixels from them."""
    rgb = np.ascontiguousarray(np.rot90(portrait, 2))
    face = detector.find(rgb)[0]
    stored = face_from_columns([float(np.float32(value)) for value in face_to_columns(face).values()])
    assert (stored.box_px, stored.score) == (face.box_px, face.score)
    np.testing.assert_array_equal(stored.landmarks_px, face.landmarks_px)
    np.testing.assert_array_equal(align_face(rgb, stored, 96), align_face(rgb, face, 96))


def page(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Soft noise without a face."""
    coarse = np.random.default_rng(seed).normal(110, 20, (height // 16, width // 16, 3)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (width, height)), 0, 255).astype(np.uint8)


def paste(canvas: NDArray[np.uint8], portrait: NDArray[np.uint8], face: Face, side_px: int, corner: int) -> Face:
    """Paste a portrait so that its face has a shorter side of `side_px`; the face as it lies in the canvas."""
    scale = side_px / face.side_px
    small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas[corner : corner + small.shape[0], corner : corner + small.shape[1]] = small
    x, y, width, height = (value * scale for value in face.box_px)
    return Face((x + corner, y + corner, width, height), face.landmarks_px * scale + corner, face.score)


@pytest.mark.parametrize(("height", "width", "side_px"), [(2400, 3600, 66), (4000, 6000, 80), (8000, 1088, 120)])
def test_a_small_face_in_a_large_image_is_found(
    detector: FaceDetector, portrait: NDArray[np.uint8], height: int, width: int, side_px: int
) -> None:
    canvas = page(height, width)
    expected = paste(canvas, portrait, detector.find(portrait)[0], side_px, 790)
    found = detector.find(canvas)
    assert len(found) == 1
    np.testing.assert_allclose(found[0].landmarks_px, expected.landmarks_px, atol=0.08 * side_px)


def test_a_small_face_beside_another_small_face_is_found(detector: FaceDetector, portrait: NDArray[np.uint8]) -> None:
    canvas = page(4000, 6000)
    face = detector.find(portrait)[0]
    paste(canvas, portrait, face, 220, 300)
    paste(canvas, portrait, face, 80, 2600)
    assert len(detector.find(canvas)) == 2


def test_a_sure_face_is_searched_once(
    detector: FaceDetector, portrait: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upright portrait takes no more time than before turned and small faces were searched."""
    rgb = next(
        drawn
        for drawn in (draw_portrait(np.random.default_rng(seed)) for seed in range(20))
        if detector.find(drawn)[0].score >= face_detector.SURE_SCORE
    )
    searched: list[tuple[int, ...]] = []
    original = face_detector.detect_rows

    def count(image: NDArray[np.uint8], threshold: float) -> NDArray[np.float32]:
        searched.append(image.shape)
        return original(image, threshold)

    monkeypatch.setattr(face_detector, "detect_rows", count)
    detector.find(rgb)
    assert searched == [(256, 256, 3)]


def test_tiles_cover_the_image() -> None:
    for height, width in ((640, 640), (641, 2400), (3200, 435), (1600, 2400), (12, 5000)):
        covered = np.zeros((height, width), bool)
        for top, left in face_detector._tile_corners(height, width):
            assert top >= 0 <= left
            covered[top : top + face_detector.TILE_PX, left : left + face_detector.TILE_PX] = True
        assert covered.all()


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
