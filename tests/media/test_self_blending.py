"""A self-blended face differs from its original inside a soft mask over the face, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media import self_blending
from deepfake_detector.media.face_alignment import align, place_in_crop
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.media.self_blending import face_mask, self_blend

Pixels = NDArray[np.uint8]
SIDE_PX = 128
FRONTAL_PX = np.array([(42, 46), (86, 46), (64, 70), (46, 92), (82, 92)], np.float32)


@pytest.fixture(scope="module")
def face(portrait: Pixels) -> tuple[Pixels, NDArray[np.float32]]:
    """A crop as training sees it, and where its landmarks lie."""
    found = FaceDetector().find(portrait)[0]
    return align(portrait, found, SIDE_PX, 0.6), place_in_crop(found, SIDE_PX, 0.6)


def state(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_nothing_outside_the_mask_changes_and_something_inside_does(face, monkeypatch) -> None:
    crop, landmarks = face
    masks: list[NDArray[np.float32]] = []

    def spy(*args: object) -> NDArray[np.float32]:
        masks.append(face_mask(*args))
        return masks[-1]

    # As the outside may be the odd copy, only one that is the crop itself shows what was left alone.
    monkeypatch.setattr(self_blending, "face_mask", spy)
    untouched = 0
    for seed in range(60):
        found = self_blend(crop, landmarks, state(seed))
        assert (found.shape, found.dtype) == (crop.shape, np.uint8)
        changed = (found != crop).any(axis=2)
        inside = masks[-1] > 0.5
        assert changed[inside].mean() > 0.2, seed
        if not changed[masks[-1] == 0].any():
            untouched += 1
    assert 15 < untouched < 45  # half of the time


def test_where_the_copy_is_the_outside_the_inside_is_the_face_moved(face, monkeypatch) -> None:
    """The other half: outside the mask stands the copy in another light, everywhere and exactly."""
    crop, landmarks = face
    seen: list[tuple[Pixels, NDArray[np.float32]]] = []
    unlike = self_blending._unlike
    monkeypatch.setattr(self_blending, "_unlike", lambda *a: seen.append([unlike(*a)]) or seen[-1][0])
    monkeypatch.setattr(self_blending, "face_mask", lambda *a: seen[-1].append(face_mask(*a)) or seen[-1][1])
    for seed in range(40):
        found = self_blend(crop, landmarks, state(seed))
        odd, mask = seen[-1]
        outside = found[mask == 0]
        assert np.array_equal(outside, crop[mask == 0]) or np.array_equal(outside, odd[mask == 0])


def test_the_same_state_gives_the_same_crop(face) -> None:
    crop, landmarks = face
    before = crop.copy()
    assert self_blend(crop, landmarks, state(5)).tobytes() == self_blend(crop, landmarks, state(5)).tobytes()
    assert len({self_blend(crop, landmarks, state(seed)).tobytes() for seed in range(20)}) == 20
    assert np.array_equal(crop, before)


def test_the_change_is_one_a_person_might_miss(face) -> None:
    """Swaps are not scribbles: over many, the face stays well recognizable."""
    crop, landmarks = face
    moved = [np.abs(self_blend(crop, landmarks, state(seed)).astype(int) - crop).mean() for seed in range(60)]
    assert 0.5 < np.median(moved) < 12
    assert max(moved) < 30


def test_the_mask_is_soft_lies_on_the_face_and_has_many_shapes(face) -> None:
    _, landmarks = face
    masks = np.stack([face_mask(SIDE_PX, landmarks, state(seed)) for seed in range(200)])
    assert masks.dtype == np.float32
    assert masks.min() >= 0
    assert masks.max() <= 1 + 1e-6
    assert (masks.max(axis=(1, 2)) > 0.9).mean() > 0.95  # nearly always a place where the copy is all there is
    areas = (masks > 0.5).mean(axis=(1, 2))
    assert areas.min() > 0.01
    assert areas.max() < 0.9
    assert np.quantile(areas, 0.1) < 0.15 < 0.3 < np.quantile(areas, 0.9)  # parts of the face, and all of it
    soft = ((masks > 0.05) & (masks < 0.95)).mean(axis=(1, 2))
    assert soft.min() > 0.005
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    middles = np.array([((m * x).sum() / m.sum(), (m * y).sum() / m.sum()) for m in masks])
    centre = landmarks.mean(axis=0)
    assert np.abs(middles - centre).max() < 0.35 * SIDE_PX
    assert np.abs(middles.mean(axis=0) - centre).max() < 0.1 * SIDE_PX


def test_the_mask_follows_a_turned_face() -> None:
    """A mouth's mask lies below the eyes, whichever way is down."""
    turn = np.array([[0, -1], [1, 0]])  # a quarter to the right
    turned = ((FRONTAL_PX - 64) @ turn.T + 64).astype(np.float32)
    upright = np.stack([face_mask(SIDE_PX, FRONTAL_PX, state(seed)) for seed in range(120)]).mean(axis=0)
    aside = np.stack([face_mask(SIDE_PX, turned, state(seed)) for seed in range(120)]).mean(axis=0)
    back = np.rot90(aside, 1)
    assert np.corrcoef(upright.ravel(), back.ravel())[0, 1] > 0.98
    assert np.corrcoef(upright.ravel(), aside.ravel())[0, 1] < 0.98


@pytest.mark.parametrize("shift_px", [(-60, 0), (70, 40), (0, -90), (400, 400)])
def test_landmarks_beyond_the_crop_are_no_reason_to_stop(face, shift_px: tuple[int, int]) -> None:
    crop, landmarks = face
    for seed in range(30):
        found = self_blend(crop, landmarks + np.array(shift_px, np.float32), state(seed))
        assert (found.shape, found.dtype) == (crop.shape, np.uint8)


def test_landmarks_on_one_point_are_no_reason_to_stop(face) -> None:
    crop, _ = face
    for seed in range(30):
        assert self_blend(crop, np.full((5, 2), 64, np.float32), state(seed)).shape == crop.shape


@pytest.mark.parametrize("side_px", [32, 64, 200])
def test_any_side(face, side_px: int) -> None:
    import cv2

    crop, landmarks = face
    small = np.asarray(cv2.resize(crop, (side_px, side_px), interpolation=cv2.INTER_AREA), np.uint8)
    for seed in range(10):
        found = self_blend(small, landmarks * side_px / SIDE_PX, state(seed))
        assert found.shape == (side_px, side_px, 3)
        assert not np.array_equal(found, small)
