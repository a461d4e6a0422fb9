"""Crops have their eyes at FFHQ's positions, whatever scale and rotation; unusable faces are rejected with a reason."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from deepfake_detector.media.face_alignment import (
    MAX_OVERSHOOT,
    align_face,
    crop_face,
    landmarks_in_crop,
    measure_overshoot,
)
from deepfake_detector.media.face_detector import Face, FaceDetector

EYES = ((0.375, 0.472), (0.625, 0.472))
# A frontal face in units of the crop's side, eye distance 0.25, which the formula of FFHQ maps onto EYES.
FRONTAL = np.array([(-0.125, -0.139), (0.125, -0.139), (0, 0), (-0.09, 0.139), (0.09, 0.139)])


def frontal_face(centre: tuple[float, float], side_px: float, angle_deg: float = 0.0) -> Face:
    """A frontal face; `side_px` is the side of its FFHQ square."""
    a = math.radians(angle_deg)
    rotation = np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    landmarks = (FRONTAL * side_px) @ rotation.T + centre
    return Face((centre[0] - side_px / 4, centre[1] - side_px / 4, side_px / 2, side_px / 2), landmarks.astype("f4"), 1)


def draw_eyes(face: Face, height: int, width: int, radius: float) -> NDArray[np.uint8]:
    """A grey image with an anti-aliased red disc on the left eye and a blue one on the right eye."""
    y, x = np.mgrid[0:height, 0:width] + 0.5  # centres of pixels
    image = np.full((height, width, 3), 128.0)
    for eye, colour in zip(face.landmarks_px[:2], ((255, 0, 0), (0, 0, 255)), strict=True):
        cover = np.clip(radius + 0.5 - np.hypot(x - eye[0], y - eye[1]), 0, 1)[:, :, None]
        image += cover * (np.array(colour) - 128)
    return np.round(image).astype(np.uint8)


def centre_of(crop: NDArray[np.uint8], channel: int) -> NDArray[np.float64]:
    """Centre of a disc, as shares of the crop's side."""
    weight = np.clip(crop[:, :, channel].astype(float) - 128, 0, None)
    y, x = np.mgrid[0 : crop.shape[0], 0 : crop.shape[1]] + 0.5
    centre: NDArray[np.float64] = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum() / crop.shape[0]
    return centre


@pytest.mark.parametrize("angle_deg", [0, 17, 90, 233])
@pytest.mark.parametrize("side", [70, 128, 255, 257, 513, 1100])
def test_eyes_lie_at_ffhqs_positions(side: int, angle_deg: float) -> None:
    extent = round(1.5 * side)
    face = frontal_face((extent / 2 + 0.3, extent / 2 - 0.2), side, angle_deg)
    crop = align_face(draw_eyes(face, extent, extent + 9, side / 24), face, 128)
    assert crop.shape == (128, 128, 3)
    assert crop.dtype == np.uint8
    for channel, eye in ((0, EYES[0]), (2, EYES[1])):
        np.testing.assert_allclose(centre_of(crop, channel), eye, atol=0.2 / 128)


def test_a_face_that_fills_its_image_is_only_averaged(portrait: NDArray[np.uint8]) -> None:
    """At equal scale and without rotation only two by two pixels are averaged."""
    eye_to_eye, eye_to_mouth = 64, 64 * 2 / 1.8
    landmarks = np.array([(96, 128 - 0.1 * eye_to_mouth)] * 5, np.float32)
    landmarks[1, 0] += eye_to_eye
    landmarks[3:, 1] += eye_to_mouth
    landmarks[4, 0] += eye_to_eye
    crop = align_face(portrait, Face((0, 0, 256, 256), landmarks, 1), 128)
    halved = cv2.resize(portrait, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(crop.astype(int) - halved).max() <= 1


def test_crops_change_smoothly_with_scale() -> None:
    """Fine texture must not jump where the image starts to be shrunk first."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (1400, 1400, 3), np.uint8), (0, 0), 1.2)
    sides = np.geomspace(200, 1200, 60)
    detail = [align_face(noise, frontal_face((700, 700), side), 128).astype(float).std() for side in sides]
    steps = np.diff(np.log(detail))
    assert np.abs(steps).max() < 0.18  # noise is the worst case; 0.13 was measured where shrinking starts
    assert detail[-1] < detail[0] / 2  # a large face is averaged, not sampled


def test_a_crop_does_not_depend_on_the_rest_of_the_image(portrait: NDArray[np.uint8]) -> None:
    face = frontal_face((128, 128), 100, 10)
    alone = align_face(portrait, face, 64)
    padded = cv2.copyMakeBorder(portrait, 300, 500, 300, 500, cv2.BORDER_CONSTANT, value=(9, 200, 9))
    moved = Face(face.box_px, face.landmarks_px + 300, 1)
    assert np.abs(alone.astype(int) - align_face(padded, moved, 64)).max() <= 2


@pytest.mark.parametrize("centre", [(0, 0), (-80, 40), (399, 299), (5000, -4000)])
@pytest.mark.parametrize("side", [3, 150, 900, 20_000])
def test_the_image_is_mirrored_beyond_its_border(centre: tuple[float, float], side: float) -> None:
    image = np.full((300, 400, 3), 200, np.uint8)
    assert (align_face(image, frontal_face(centre, side), 64) == 200).all()


def test_coinciding_landmarks_and_tiny_images_are_cropped() -> None:
    one_point = Face((0, 0, 0, 0), np.full((5, 2), 7, np.float32), 1)
    for shape in ((1, 1, 3), (2, 50, 3), (40, 3, 3)):
        assert align_face(np.zeros(shape, np.uint8), one_point, 32).shape == (32, 32, 3)
        assert align_face(np.zeros(shape, np.uint8), frontal_face((1, 1), 900), 32).shape == (32, 32, 3)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.5, 8.0])
@pytest.mark.parametrize("angle_deg", [0, 20])
def test_detected_and_aligned_faces_have_their_eyes_in_place_at_any_scale_and_rotation(
    detector: FaceDetector, portrait: NDArray[np.uint8], scale: float, angle_deg: float
) -> None:
    """The eyes detected in the crop lie near FFHQ's positions."""
    side = round(256 * scale)
    matrix = cv2.getRotationMatrix2D((127.5, 127.5), angle_deg, 1)
    rotated = cv2.warpAffine(portrait, matrix, (256, 256), borderMode=cv2.BORDER_REPLICATE)
    image = cv2.resize(rotated, (side, side), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    crop = align_face(image, detector.find(image)[0], 256)
    eyes = detector.find(crop)[0].landmarks_px[:2] / 256
    np.testing.assert_allclose(eyes, EYES, atol=0.04)


@pytest.mark.parametrize("side_px", [64, 128, 192])
def test_a_usable_face_gives_its_aligned_crop(
    detector: FaceDetector, portrait: NDArray[np.uint8], side_px: int
) -> None:
    face = detector.find(portrait)[0]
    crop = crop_face(portrait, face, side_px, 64)
    assert (crop.face, crop.problem) == (face, None)
    assert crop.pixels is not None
    np.testing.assert_array_equal(crop.pixels, align_face(portrait, face, side_px))


def problem(rgb: NDArray[np.uint8], face: Face, side_px: int = 128, min_face_px: float = 64) -> str:
    crop = crop_face(rgb, face, side_px, min_face_px)
    assert (crop.pixels is None) == (crop.problem is not None)
    return crop.problem or ""


def test_size_is_measured_on_the_shorter_side() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)
    noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.2), np.uint8)  # sharp, but not like a dithered picture
    face = Face((80, 60, 100, 140), frontal_face((150, 150), 200).landmarks_px, 1)
    assert problem(noise, face, min_face_px=100) == ""
    assert problem(noise, face, min_face_px=101) == "the face is 100 px, at least 101 are needed"


@pytest.mark.parametrize("side_px", [64, 128, 192])
def test_blurred_and_dark_faces_are_rejected_whatever_the_side_of_the_crop(
    detector: FaceDetector, portrait: NDArray[np.uint8], side_px: int
) -> None:
    face = detector.find(portrait)[0]
    for image in (cv2.GaussianBlur(portrait, (0, 0), 6), portrait // 50):
        assert problem(image, face, side_px).startswith("the face is too blurred or too dark (sharpness ")


@pytest.mark.parametrize("angle_deg", [0, 35, 180])
@pytest.mark.parametrize(("shift", "rejected"), [(0.5, False), (-0.5, False), (0.7, True), (-0.7, True)])
def test_a_profile_is_rejected_at_any_rotation(
    portrait: NDArray[np.uint8], angle_deg: float, shift: float, rejected: bool
) -> None:
    face = frontal_face((128, 128), 200, angle_deg)
    face.landmarks_px[2] += shift * (face.landmarks_px[1] - face.landmarks_px[0])
    assert ("nose 0.70 eye distances off, at most 0.6" in problem(portrait, face)) == rejected


def test_a_face_with_coinciding_landmarks_is_rejected(portrait: NDArray[np.uint8]) -> None:
    assert "side" in problem(portrait, Face((0, 0, 100, 100), np.zeros((5, 2), np.float32), 0.9))


@pytest.mark.parametrize("scale", [0.5, 0.6, 0.8, 1.0, 1.2])
@pytest.mark.parametrize("angle_deg", [0, 25, 180])
def test_landmarks_in_crop_are_where_the_crop_shows_them(scale: float, angle_deg: float) -> None:
    face = frontal_face((260.3, 255.8), 300, angle_deg)
    crop = align_face(draw_eyes(face, 540, 520, 8), face, 128, scale)
    landmarks_px = landmarks_in_crop(face, 128, scale)
    assert landmarks_px.shape == (5, 2)
    assert landmarks_px.dtype == np.float32
    for channel, eye_px in ((0, landmarks_px[0]), (2, landmarks_px[1])):
        np.testing.assert_allclose(centre_of(crop, channel) * 128, eye_px, atol=0.3)


def test_at_scale_one_the_eyes_in_the_crop_are_at_ffhqs_positions() -> None:
    landmarks_px = landmarks_in_crop(frontal_face((80, 90), 140, 33), 256, 1)
    np.testing.assert_allclose(landmarks_px[:2] / 256, EYES, atol=1e-3)


def test_a_smaller_scale_shows_brows_to_chin() -> None:
    """The face is larger by the scale, upright, centred, and its chin stays in the crop."""
    face = frontal_face((200, 200), 250, 12)
    whole, close = landmarks_in_crop(face, 128, 1), landmarks_in_crop(face, 128, 0.6)
    np.testing.assert_allclose(np.ptp(close[:2, 0]), np.ptp(whole[:2, 0]) / 0.6, rtol=1e-3)
    assert close[0, 1] == pytest.approx(close[1, 1], abs=0.1)
    assert close[:2, 0].mean() == pytest.approx(64, abs=0.1)
    eyes, mouth = close[:2, 1].mean(), close[3:, 1].mean()
    assert eyes - 0.5 * (mouth - eyes) > 0  # brows lie half as far above the eyes as the mouth below
    assert mouth + 0.55 * (mouth - eyes) < 128


@pytest.mark.parametrize("scale", [0.6, 1.0])
def test_the_scale_changes_the_crop_but_not_which_faces_are_rejected(
    detector: FaceDetector, portrait: NDArray[np.uint8], scale: float
) -> None:
    face = detector.find(portrait)[0]
    pixels = crop_face(portrait, face, 128, 64, scale).pixels
    assert pixels is not None
    np.testing.assert_array_equal(pixels, align_face(portrait, face, 128, scale))
    for sigma_px in (1, 2, 3, 4, 6):
        blurred = cv2.GaussianBlur(portrait, (0, 0), sigma_px)
        assert crop_face(blurred, face, 128, 64, scale).problem == crop_face(blurred, face, 128, 64, 1.0).problem


# Pictures whose pixels say nothing about their origin any more


def dithered(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.array(Image.fromarray(rgb).convert("1").convert("RGB"))


def sharpened(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.array(Image.fromarray(rgb).filter(ImageFilter.UnsharpMask(radius=2, percent=400, threshold=0)))


def textured(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A drawn portrait has no skin texture: smooth noise of a camera stands in for it."""
    grain = np.random.default_rng(1).normal(0, 14, rgb.shape[:2]).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 0.9)[:, :, None]
    return np.clip(rgb + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("change", [dithered, sharpened])
def test_dithered_and_strongly_sharpened_faces_get_a_reason_instead_of_a_crop(
    detector: FaceDetector, portrait: NDArray[np.uint8], change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
) -> None:
    rgb = textured(portrait)
    face = detector.find(rgb)[0]
    assert crop_face(rgb, face, 96, 64).problem is None
    found = crop_face(change(rgb), face, 96, 64)
    assert found.pixels is None
    assert found.problem is not None
    assert found.problem.startswith("the face is dithered or too strongly sharpened")


def test_noise_and_shrinking_are_no_sharpening(detector: FaceDetector, portrait: NDArray[np.uint8]) -> None:
    face = detector.find(portrait)[0]
    noisy = portrait + np.random.default_rng(2).normal(0, 5, portrait.shape)
    assert measure_overshoot(np.clip(noisy, 0, 255).astype(np.uint8), face) < MAX_OVERSHOOT
    shrunk = cv2.resize(portrait, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_LANCZOS4)
    smaller = Face(tuple(0.6 * value for value in face.box_px), face.landmarks_px * 0.6, face.score)  # type: ignore[arg-type]
    assert measure_overshoot(shrunk, smaller) < MAX_OVERSHOOT


def test_a_box_outside_the_image_has_no_overshoot(portrait: NDArray[np.uint8]) -> None:
    outside = Face((400.0, 400.0, 50.0, 50.0), np.zeros((5, 2), np.float32), 0.9)
    assert measure_overshoot(portrait, outside) == 0
