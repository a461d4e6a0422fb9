"""A self-blended face differs from its original inside a soft mask over the face, and nowhere else."""

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media import self_blending
from deepfake_detector.media.face_alignment import align_face, landmarks_in_crop
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.media.self_blending import face_mask, self_blend

Pixels = NDArray[np.uint8]
FaceInCrop: TypeAlias = tuple[Pixels, NDArray[np.float32]]
SIDE_PX = 128
FRONTAL_PX = np.array([(42, 46), (86, 46), (64, 70), (46, 92), (82, 92)], np.float32)


@pytest.fixture(scope="module")
def face(portrait: Pixels) -> FaceInCrop:
    """A crop as training uses it, and its landmarks."""
    detected = FaceDetector().find(portrait)[0]
    return align_face(portrait, detected, SIDE_PX, 0.6), landmarks_in_crop(detected, SIDE_PX, 0.6)


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_pixels_change_inside_the_mask_only(face: FaceInCrop, monkeypatch: pytest.MonkeyPatch) -> None:
    crop, landmarks = face
    masks: list[NDArray[np.float32]] = []

    def record_mask(*args: Any) -> NDArray[np.float32]:
        masks.append(face_mask(*args))
        return masks[-1]

    # Where the outside is the changed copy, all pixels change; count the cases where it is the crop itself.
    monkeypatch.setattr(self_blending, "face_mask", record_mask)
    unchanged_outside = 0
    for seed in range(60):
        blended = self_blend(crop, landmarks, generator(seed))
        assert blended.shape == crop.shape
        assert blended.dtype == np.uint8
        changed = (blended != crop).any(axis=2)
        inside = masks[-1] > 0.5
        assert changed[inside].mean() > 0.2, seed
        if not changed[masks[-1] == 0].any():
            unchanged_outside += 1
    assert 15 < unchanged_outside < 45  # half of the time


def test_where_the_outside_is_the_changed_copy_the_inside_is_the_shifted_face(
    face: FaceInCrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside the mask the pixels equal either the crop or the whole changed copy."""
    crop, landmarks = face
    copies: list[Pixels] = []
    masks: list[NDArray[np.float32]] = []
    changed_copy = self_blending._changed_copy

    def record_copy(*args: Any) -> Pixels:
        copies.append(changed_copy(*args))
        return copies[-1]

    def record_mask(*args: Any) -> NDArray[np.float32]:
        masks.append(face_mask(*args))
        return masks[-1]

    monkeypatch.setattr(self_blending, "_changed_copy", record_copy)
    monkeypatch.setattr(self_blending, "face_mask", record_mask)
    for seed in range(40):
        blended = self_blend(crop, landmarks, generator(seed))
        beyond = masks[-1] == 0
        outside = blended[beyond]
        assert np.array_equal(outside, crop[beyond]) or np.array_equal(outside, copies[-1][beyond])


def test_same_seed_gives_the_same_crop(face: FaceInCrop) -> None:
    crop, landmarks = face
    before = crop.copy()
    assert self_blend(crop, landmarks, generator(5)).tobytes() == self_blend(crop, landmarks, generator(5)).tobytes()
    assert len({self_blend(crop, landmarks, generator(seed)).tobytes() for seed in range(20)}) == 20
    assert np.array_equal(crop, before)


def test_the_change_is_subtle(face: FaceInCrop) -> None:
    """The face stays recognizable, as in a swap."""
    crop, landmarks = face
    differences = [np.abs(self_blend(crop, landmarks, generator(seed)).astype(int) - crop).mean() for seed in range(60)]
    assert 0.5 < np.median(differences) < 12
    assert max(differences) < 30


def test_masks_are_soft_lie_on_the_face_and_have_many_shapes(face: FaceInCrop) -> None:
    _, landmarks = face
    masks = np.stack([face_mask(SIDE_PX, landmarks, generator(seed)) for seed in range(200)])
    assert masks.dtype == np.float32
    assert masks.min() >= 0
    assert masks.max() <= 1 + 1e-6
    assert (masks.max(axis=(1, 2)) > 0.9).mean() > 0.95  # nearly all have an opaque part
    areas = (masks > 0.5).mean(axis=(1, 2))
    assert areas.min() > 0.01
    assert areas.max() < 0.9
    assert np.quantile(areas, 0.1) < 0.15 < 0.3 < np.quantile(areas, 0.9)  # parts of the face, and all of it
    soft = ((masks > 0.05) & (masks < 0.95)).mean(axis=(1, 2))
    assert soft.min() > 0.005
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    centres = np.array([((m * x).sum() / m.sum(), (m * y).sum() / m.sum()) for m in masks])
    centre = landmarks.mean(axis=0)
    assert np.abs(centres - centre).max() < 0.35 * SIDE_PX
    assert np.abs(centres.mean(axis=0) - centre).max() < 0.1 * SIDE_PX


def test_the_mask_follows_a_rotated_face() -> None:
    """The mask of the mouth lies below the eyes, whichever way is down."""
    clockwise = np.array([[0, -1], [1, 0]])
    rotated = ((FRONTAL_PX - 64) @ clockwise.T + 64).astype(np.float32)
    upright = np.stack([face_mask(SIDE_PX, FRONTAL_PX, generator(seed)) for seed in range(120)]).mean(axis=0)
    sideways = np.stack([face_mask(SIDE_PX, rotated, generator(seed)) for seed in range(120)]).mean(axis=0)
    rotated_back = np.rot90(sideways, 1)
    assert np.corrcoef(upright.ravel(), rotated_back.ravel())[0, 1] > 0.98
    assert np.corrcoef(upright.ravel(), sideways.ravel())[0, 1] < 0.98


@pytest.mark.parametrize("shift_px", [(-60, 0), (70, 40), (0, -90), (400, 400)])
def test_landmarks_beyond_the_crop_are_accepted(face: FaceInCrop, shift_px: tuple[int, int]) -> None:
    crop, landmarks = face
    for seed in range(30):
        blended = self_blend(crop, landmarks + np.array(shift_px, np.float32), generator(seed))
        assert blended.shape == crop.shape
        assert blended.dtype == np.uint8


def test_coinciding_landmarks_are_accepted(face: FaceInCrop) -> None:
    crop, _ = face
    for seed in range(30):
        assert self_blend(crop, np.full((5, 2), 64, np.float32), generator(seed)).shape == crop.shape


@pytest.mark.parametrize("side_px", [32, 64, 200])
def test_crops_of_any_side_are_blended(face: FaceInCrop, side_px: int) -> None:
    crop, landmarks = face
    small = np.asarray(cv2.resize(crop, (side_px, side_px), interpolation=cv2.INTER_AREA), np.uint8)
    for seed in range(10):
        blended = self_blend(small, (landmarks * side_px / SIDE_PX).astype(np.float32), generator(seed))
        assert blended.shape == (side_px, side_px, 3)
        assert not np.array_equal(blended, small)
