"""Faces are found where they were drawn, and cut out with their eyes where FFHQ puts them, whatever turn and scale."""

from __future__ import annotations

import importlib.resources
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.data.sample import draw_portrait
from deepfake_detector.errors import ToolFailed
from deepfake_detector.media import face as module
from deepfake_detector.media.face import Face, FaceDetector, align, align_all, face_problem

EYES = ((0.375, 0.472), (0.625, 0.472))
# A frontal face in units of the crop's side, eye distance 0.25, which the formula of FFHQ maps onto EYES.
FRONTAL = np.array([(-0.125, -0.139), (0.125, -0.139), (0, 0), (-0.09, 0.139), (0.09, 0.139)])


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    return draw_portrait(np.random.default_rng(3))


def posed(centre: tuple[float, float], side_px: float, angle_deg: float = 0.0) -> Face:
    """A frontal face without a detector: `side_px` is that of its FFHQ square."""
    a = math.radians(angle_deg)
    turn = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    landmarks = (FRONTAL * side_px) @ turn.T + centre
    return Face((centre[0] - side_px / 4, centre[1] - side_px / 4, side_px / 2, side_px / 2), landmarks.astype("f4"), 1)


def dotted(face: Face, height: int, width: int, radius: float) -> NDArray[np.uint8]:
    """A grey picture with a red disc on the eye at the left and a blue one on the eye at the right, anti-aliased."""
    y, x = np.mgrid[0:height, 0:width] + 0.5  # middles of pixels
    picture = np.full((height, width, 3), 128.0)
    for eye, colour in zip(face.landmarks_px[:2], ((255, 0, 0), (0, 0, 255)), strict=True):
        cover = np.clip(radius + 0.5 - np.hypot(x - eye[0], y - eye[1]), 0, 1)[:, :, None]
        picture += cover * (np.array(colour) - 128)
    return np.round(picture).astype(np.uint8)


def centre_of(crop: NDArray[np.uint8], channel: int) -> NDArray[np.float64]:
    """Centre of a disc, as shares of the crop's side."""
    weight = np.clip(crop[:, :, channel].astype(float) - 128, 0, None)
    y, x = np.mgrid[0 : crop.shape[0], 0 : crop.shape[1]] + 0.5
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum() / crop.shape[0]


@pytest.mark.parametrize("angle_deg", [0, 17, 90, 233])
@pytest.mark.parametrize("side", [70, 128, 255, 257, 513, 1100])
def test_eyes_land_where_ffhq_puts_them(side: int, angle_deg: float) -> None:
    extent = round(1.5 * side)
    face = posed((extent / 2 + 0.3, extent / 2 - 0.2), side, angle_deg)
    crop = align(dotted(face, extent, extent + 9, side / 24), face, 128)
    assert crop.shape == (128, 128, 3)
    assert crop.dtype == np.uint8
    for channel, eye in ((0, EYES[0]), (2, EYES[1])):
        np.testing.assert_allclose(centre_of(crop, channel), eye, atol=0.2 / 128)


def test_a_face_that_fills_its_picture_comes_back_as_it_was(portrait: NDArray[np.uint8]) -> None:
    """Same scale, no turn: the only change allowed is the averaging of two by two pixels."""
    eye_to_eye, eye_to_mouth = 64, 64 * 2 / 1.8
    landmarks = np.array([(96, 128 - 0.1 * eye_to_mouth)] * 5, np.float32)
    landmarks[1, 0] += eye_to_eye
    landmarks[3:, 1] += eye_to_mouth
    landmarks[4, 0] += eye_to_eye
    crop = align(portrait, Face((0, 0, 256, 256), landmarks, 1), 128)
    halved = cv2.resize(portrait, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(crop.astype(int) - halved).max() <= 1


def test_crops_change_smoothly_with_scale() -> None:
    """No switch of method may make two kinds of crops: fine texture must not jump from one scale to the next."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (1400, 1400, 3), np.uint8), (0, 0), 1.2)
    sides = np.geomspace(200, 1200, 60)
    detail = [align(noise, posed((700, 700), side), 128).astype(float).std() for side in sides]
    steps = np.diff(np.log(detail))
    assert np.abs(steps).max() < 0.18  # noise is the worst texture there is; 0.13 was measured where shrinking sets in
    assert detail[-1] < detail[0] / 2  # a large face is averaged, not sampled


def test_a_crop_does_not_depend_on_the_rest_of_the_picture(portrait: NDArray[np.uint8]) -> None:
    face = posed((128, 128), 100, 10)
    alone = align(portrait, face, 64)
    padded = cv2.copyMakeBorder(portrait, 300, 500, 300, 500, cv2.BORDER_CONSTANT, value=(9, 200, 9))
    moved = Face(face.box_px, face.landmarks_px + 300, 1)
    assert np.abs(alone.astype(int) - align(padded, moved, 64)).max() <= 2


@pytest.mark.parametrize("centre", [(0, 0), (-80, 40), (399, 299), (5000, -4000)])
@pytest.mark.parametrize("side", [3, 150, 900, 20_000])
def test_beyond_the_picture_lies_its_mirror_image_never_a_crash(centre: tuple[float, float], side: float) -> None:
    picture = np.full((300, 400, 3), 200, np.uint8)
    assert (align(picture, posed(centre, side), 64) == 200).all()


def test_landmarks_on_one_point_and_tiny_pictures_do_not_crash() -> None:
    one_point = Face((0, 0, 0, 0), np.full((5, 2), 7, np.float32), 1)
    for shape in ((1, 1, 3), (2, 50, 3), (40, 3, 3)):
        assert align(np.zeros(shape, np.uint8), one_point, 32).shape == (32, 32, 3)
        assert align(np.zeros(shape, np.uint8), posed((1, 1), 900), 32).shape == (32, 32, 3)


def test_align_all_stacks_in_order(portrait: NDArray[np.uint8]) -> None:
    faces = [posed((128, 128), 150), posed((100, 128), 90, 20)]
    crops = align_all(portrait, faces, 64)
    assert crops.shape == (2, 64, 64, 3)
    for crop, face in zip(crops, faces, strict=True):
        np.testing.assert_array_equal(crop, align(portrait, face, 64))
    assert align_all(portrait, [], 64).shape == (0, 64, 64, 3)


@pytest.mark.parametrize("seed", range(4))
def test_a_drawn_portrait_is_found_once(detector: FaceDetector, seed: int) -> None:
    found = detector.find(draw_portrait(np.random.default_rng(seed)))
    assert len(found) == 1
    assert found[0].score > 0.6
    assert 60 < found[0].side_px < 256
    right_eye, left_eye, nose, right_mouth, left_mouth = found[0].landmarks_px
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.5, 8.0])
@pytest.mark.parametrize("angle_deg", [0, 20])
def test_found_and_aligned_faces_look_alike_at_any_scale_and_turn(
    detector: FaceDetector, portrait: NDArray[np.uint8], scale: float, angle_deg: float
) -> None:
    """The whole way: the eyes of the crop, found again, lie near FFHQ's places."""
    side = round(256 * scale)
    move = cv2.getRotationMatrix2D((127.5, 127.5), angle_deg, 1)
    turned = cv2.warpAffine(portrait, move, (256, 256), borderMode=cv2.BORDER_REPLICATE)
    picture = cv2.resize(turned, (side, side), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    crop = align(picture, detector.find(picture)[0], 256)
    again = detector.find(crop)[0].landmarks_px[:2] / 256
    np.testing.assert_allclose(again, EYES, atol=0.04)


def test_landmarks_follow_scale_in_both_directions(detector: FaceDetector, portrait: NDArray[np.uint8]) -> None:
    wide = cv2.copyMakeBorder(portrait, 0, 0, 40, 200, cv2.BORDER_REPLICATE)
    near = detector.find(portrait)[0].landmarks_px + np.array([40, 0])
    np.testing.assert_allclose(detector.find(wide)[0].landmarks_px, near, atol=8)


def test_two_people_are_two_faces_the_larger_first(detector: FaceDetector, portrait: NDArray[np.uint8]) -> None:
    small = cv2.resize(draw_portrait(np.random.default_rng(8)), (128, 128), interpolation=cv2.INTER_AREA)
    both = np.full((256, 400, 3), 230, np.uint8)
    both[:128, :128], both[:, 144:] = small, portrait
    found = detector.find(both)
    assert len(found) == 2
    assert found[0].side_px > found[1].side_px
    assert found[0].box_px[0] > 144


def test_finding_is_deterministic(detector: FaceDetector, portrait: NDArray[np.uint8]) -> None:
    first = detector.find(portrait)[0]
    detector.find(np.ascontiguousarray(portrait[:100, :200]))  # another size in between leaves no trace
    for other in (detector, FaceDetector()):
        again = other.find(portrait)[0]
        assert again.box_px == first.box_px
        assert again.score == first.score
        np.testing.assert_array_equal(again.landmarks_px, first.landmarks_px)


@pytest.mark.parametrize("shape", [(1, 1), (10, 10_000), (10_000, 10), (300, 300)])
def test_nothing_is_found_in_nothing(detector: FaceDetector, shape: tuple[int, int]) -> None:
    assert detector.find(np.zeros((*shape, 3), np.uint8)) == []


def test_of_boxes_that_cover_each_other_the_surest_stays() -> None:
    points = np.zeros((5, 2), np.float32)
    sure, inside = Face((0, 0, 100, 100), points, 0.9), Face((20, 20, 50, 60), points, 0.7)
    apart = Face((90, 90, 100, 100), points, 0.65)
    assert module._distinct([inside, apart, sure]) == [sure, apart]


def test_a_good_face_has_no_problem(detector: FaceDetector, portrait: NDArray[np.uint8]) -> None:
    assert face_problem(portrait, detector.find(portrait)[0], 64) == ""


def test_problems_name_their_numbers(detector: FaceDetector, portrait: NDArray[np.uint8]) -> None:
    face = detector.find(portrait)[0]
    assert f"{face.side_px:.0f} px" in face_problem(portrait, face, 500)
    blurred = cv2.GaussianBlur(portrait, (0, 0), 6)
    assert "blurred" in face_problem(blurred, face, 64)
    assert "dark" in face_problem(portrait // 50, face, 64)


@pytest.mark.parametrize("angle_deg", [0, 35, 180])
def test_a_profile_is_refused_at_any_turn(portrait: NDArray[np.uint8], angle_deg: float) -> None:
    face = posed((128, 128), 200, angle_deg)
    eye_to_eye = face.landmarks_px[1] - face.landmarks_px[0]
    for shift, refused in ((0.5, False), (-0.5, False), (0.7, True), (-0.7, True)):
        landmarks = face.landmarks_px.copy()
        landmarks[2] += shift * eye_to_eye
        assert ("side" in face_problem(portrait, Face(face.box_px, landmarks, 1), 64)) == refused


def test_another_detector_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.resources, "files", lambda name: tmp_path)
    module._yunet.cache_clear()
    try:
        with pytest.raises(ToolFailed, match="missing"):
            FaceDetector()
        (tmp_path / module.YUNET_FILE).write_bytes(b"another network")
        with pytest.raises(ToolFailed, match="SHA-256"):
            FaceDetector()
    finally:
        module._yunet.cache_clear()
