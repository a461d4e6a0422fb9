"""Crops are changed and covered as the probes say."""

from pathlib import Path

import numpy as np
import pytest

from deepfake_detector.config import read_settings
from deepfake_detector.evaluation.honesty_probes import CHANGES, check_explanation, face_core, probe_crops
from deepfake_detector.media.augmentation import sent
from deepfake_detector.media.face_alignment import align, place_in_crop
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.preparation.shards import Held

HOW = read_settings(Path(__file__).parents[2] / "params.yaml").evaluate
SIDE = 64


@pytest.fixture(scope="module")
def held(portrait) -> Held:
    """Sixteen crops; in fakes the face has a blue cast, and in one of the sets so has the background."""
    face = FaceDetector().find(portrait)[0]
    crop, place = align(portrait, face, SIDE, 0.6), place_in_crop(face, SIDE, 0.6)
    core = face_core(place, SIDE) == 1
    crops = np.stack([crop] * 16)
    crops[8:, core, 2] = np.minimum(255, crops[8:, core, 2].astype(int) + 60)
    labels = np.repeat([0, 1], 8)
    return Held(crops, labels, [""] * 16, ["s"] * 16, np.stack([place] * 16), [""] * 16)


def blue(crops: np.ndarray) -> np.ndarray:
    """How blue a crop is; the casts differ by 0.3 or so."""
    return np.clip(0.5 + (crops[..., 2].mean(axis=(1, 2)) - crops[..., 0].mean(axis=(1, 2))) / 128, 0, 1)


def test_the_core_covers_eyes_nose_and_mouth_and_little_else(held) -> None:
    place = held.landmarks_px[0]
    core = face_core(place, SIDE)
    assert all(core[int(y), int(x)] == 1 for x, y in place)
    assert core[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0
    assert 0.3 < core.mean() < 0.75


def test_what_shows_in_the_face_is_lost_with_it_and_what_shows_around_is_an_alarm(held) -> None:
    honest = probe_crops(held, blue(held.crops), blue, HOW)[-1]
    assert honest.name == "background only, face only"
    assert not honest.alarm
    swapped = held.crops.copy()
    outside = face_core(held.landmarks_px[0], SIDE) == 0
    swapped[8:] = swapped[:8]
    swapped[8:, outside, 2] = np.minimum(255, swapped[8:, outside, 2].astype(int) + 60)
    shortcut = probe_crops(held._replace(crops=swapped), blue(swapped), blue, HOW)[-1]
    assert shortcut.alarm


def test_a_score_that_only_counts_colours_does_not_mind_being_flipped(held) -> None:
    probes = {probe.name: probe for probe in probe_crops(held, blue(held.crops), blue, HOW)}
    assert set(CHANGES) <= set(probes)
    assert probes["flipped"].value.value == 0.0
    assert not probes["shifted 8 px right and down"].alarm

    def left(crops: np.ndarray) -> np.ndarray:
        return np.clip(crops[:, :, : SIDE // 2].mean(axis=(1, 2, 3)) / 255 + np.linspace(0, 0.2, len(crops)), 0, 1)

    dark = held.crops.copy()
    dark[:, :, : SIDE // 2] //= 4
    sided = {p.name: p for p in probe_crops(held._replace(crops=dark), left(dark), left, HOW)}
    assert sided["flipped"].alarm


def test_shifts_move_by_eight_pixels(held) -> None:
    crop = held.crops[0]
    assert np.array_equal(CHANGES["shifted 8 px right and down"](crop)[8:, 8:], crop[:-8, :-8])
    assert np.array_equal(CHANGES["shifted 8 px left and up"](crop)[:-8, :-8], crop[8:, 8:])


def test_traffic_is_the_same_every_time_and_another_for_another_seed(held) -> None:
    first = sent(held.crops, 5)
    assert np.array_equal(first, sent(held.crops, 5))
    assert not np.array_equal(first, sent(held.crops, 6))
    assert np.array_equal(first[:3], sent(held.crops[:3], 5))


def test_a_map_of_one_cell_explains_nothing(held) -> None:
    assert check_explanation(held.crops, np.zeros((16, 1, 1), np.float32), blue, 0) is None
    assert check_explanation(held.crops[:1], np.zeros((1, 4, 4), np.float32), blue, 0) is None
    found = check_explanation(held.crops, np.random.default_rng(0).normal(0, 1, (16, 4, 4)).astype(np.float32), blue, 0)
    assert found is not None
    assert found.crops == 16
