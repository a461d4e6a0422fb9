"""Regions have random sizes, codecs and grid positions, are never enlarged, and hold the face where it is expected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media import matched_degradation
from deepfake_detector.media.face_alignment import crop_corners
from deepfake_detector.media.face_detector import Face, FaceDetector
from deepfake_detector.media.matched_degradation import SQUARE_PX, match_degradation, same_face

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def large(portrait: Pixels) -> Pixels:
    return np.asarray(cv2.resize(portrait, (768, 768), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture(scope="module")
def face(large: Pixels, detector: FaceDetector) -> Face:
    return detector.find(large)[0]


def square_px(face: Face) -> float:
    corners = crop_corners(face, 1.0)
    return float(np.hypot(*(corners[1] - corners[0])))


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_same_generator_gives_the_same_region(large: Pixels, face: Face) -> None:
    first, again, other = (match_degradation(large, face, generator(seed))[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert first.dtype == np.uint8
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_faces_have_all_sizes_and_are_found_where_they_are_expected(
    large: Pixels, face: Face, detector: FaceDetector
) -> None:
    sides, found = [], 0
    for seed in range(80):
        region, expected = match_degradation(large, face, generator(seed))
        sides.append(square_px(expected))
        nearest = same_face(detector.find(region), expected)
        if nearest is not None:
            found += 1
            assert np.abs(nearest.landmarks_px - expected.landmarks_px).mean() < 0.08 * expected.side_px
    low, high = SQUARE_PX
    assert low * 0.98 < min(sides) < low * 1.2
    assert high * 0.85 < max(sides) < high * 1.02
    assert np.median(sides) == pytest.approx(np.sqrt(low * high), rel=0.15)  # log-uniform
    assert found >= 76


def test_small_faces_are_not_enlarged(portrait: Pixels, detector: FaceDetector) -> None:
    small = np.asarray(cv2.resize(portrait, (120, 120), interpolation=cv2.INTER_AREA), np.uint8)
    face = detector.find(small)[0]
    sides = [square_px(match_degradation(small, face, generator(seed))[1]) for seed in range(20)]
    assert max(sides) <= square_px(face) * 1.001


def test_regions_begin_anywhere_on_the_grid_of_the_file(
    large: Pixels, face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matched_degradation, "_save", lambda region, rng: region)
    monkeypatch.setattr(matched_degradation, "SQUARE_PX", (1e5, 2e5))  # not shrunk
    monkeypatch.setattr(matched_degradation, "BLUR_SHARE", 0)
    monkeypatch.setattr(matched_degradation, "NOISE_SHARE", 0)
    wide = np.asarray(cv2.copyMakeBorder(large, 400, 400, 400, 400, cv2.BORDER_REFLECT), np.uint8)
    face = replace(face, landmarks_px=face.landmarks_px + np.float32(400))
    offsets = set()
    for seed in range(60):
        region, expected = match_degradation(wide, face, generator(seed))
        left, top = (face.landmarks_px - expected.landmarks_px)[0].round().astype(int)
        height, width = region.shape[:2]
        assert np.array_equal(region, wide[top : top + height, left : left + width])
        offsets |= {(left % 8, "left"), (top % 8, "top")}
    assert len(offsets) == 16


@pytest.mark.parametrize("codec", ["jpeg", "webp", "h264"], ids=str)
def test_every_codec_is_drawn(codec: str, large: Pixels, face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    function: Callable[..., Pixels] = getattr(matched_degradation, codec)

    def record_call(*args: Any) -> Pixels:
        calls.append(args)
        return function(*args)

    monkeypatch.setattr(matched_degradation, codec, record_call)
    for seed in range(40):
        match_degradation(large, face, generator(seed))
    assert 1 <= len(calls) <= 40


def test_a_face_at_the_edge_of_its_image_is_no_error(large: Pixels, face: Face) -> None:
    x, y, width, height = (int(value) for value in face.box_px)
    tight = np.ascontiguousarray(large[y : y + height, x : x + width])
    offset = np.array([x, y], np.float32)
    box_px = (face.box_px[0] - x, face.box_px[1] - y, face.box_px[2], face.box_px[3])
    moved = replace(face, box_px=box_px, landmarks_px=face.landmarks_px - offset)
    outside = replace(moved, landmarks_px=(moved.landmarks_px - 3 * offset).astype(np.float32))
    for one in (moved, outside):
        for seed in range(20):
            region, _ = match_degradation(tight, one, generator(seed))
            assert min(region.shape[:2]) >= 1


def test_another_face_is_not_taken_for_the_one_expected(face: Face) -> None:
    shift = np.array([0.5 * face.side_px, 0], np.float32)
    other = replace(face, landmarks_px=face.landmarks_px + shift)
    near = replace(face, landmarks_px=face.landmarks_px + np.float32(0.1) * shift)
    assert same_face([other], face) is None
    assert same_face([], face) is None
    assert same_face([other, near], face) is near
