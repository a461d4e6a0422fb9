"""A probe fails when a change that must not matter does, and only then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.config import read_settings
from deepfake_detector.evaluation.shortcut_probes import (
    TRANSFORMS,
    face_mask,
    probe_background,
    probe_crops,
    probe_false_positive_rates,
    probe_recompression,
    probe_score_drift,
)
from deepfake_detector.evaluation.source_metrics import measure_sources
from deepfake_detector.media.face_alignment import align_face, landmarks_in_crop
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.model.bundle import Thresholds
from deepfake_detector.preparation.shards import HeldOutSplit

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
LABELS = np.tile([0, 1], 200)
CORRECT = np.where(LABELS == 1, 0.9, 0.1)
SETTINGS = read_settings(Path(__file__).parents[2] / "params.yaml").evaluate
SIDE_PX = 64
THRESHOLDS = Thresholds(clear=0.3, flag=0.7, strict=0.9)


def test_a_model_that_relies_on_the_encoding_fails_recompression() -> None:
    chance = np.random.default_rng(0).random(400)
    probe = probe_recompression(CORRECT, chance, LABELS, 0.005)
    assert (probe.code, probe.passed, probe.certain) == ("recompression", False, True)
    assert probe.value.value == pytest.approx(((chance >= 0.5) == LABELS).mean() - 1)
    assert "points" in probe.text


def test_a_change_within_noise_fails_but_is_uncertain() -> None:
    after = CORRECT.copy()
    after[:3] = 1 - after[:3]
    probe = probe_recompression(CORRECT, after, LABELS, 0.005)
    assert (probe.passed, probe.certain) == (False, False)  # three of four hundred are 0.75 points


def test_no_change_passes() -> None:
    probe = probe_recompression(CORRECT, CORRECT, LABELS, 0.005)
    assert (probe.passed, probe.certain, probe.value.value) == (True, True, 0.0)


@pytest.mark.parametrize(("change", "passed"), [(0.01, True), (0.2, False)])
def test_drift_is_the_absolute_change(change: float, passed: bool) -> None:
    signs = np.tile([1, 1, -1, -1], 100)
    probe = probe_score_drift("horizontal flip", np.full(400, 0.5), 0.5 + change * signs, 0.05)
    assert probe.value.value == pytest.approx(change)
    assert (probe.passed, probe.certain) == (passed, True)
    assert "200 of 400 predictions change" in probe.text


def test_a_background_as_good_as_the_whole_crop_fails() -> None:
    chance = np.random.default_rng(1).random(400)
    honest = probe_background(CORRECT, chance, CORRECT, LABELS, 0.05)
    shortcut = probe_background(CORRECT, CORRECT, chance, LABELS, 0.05)
    assert (honest.passed, honest.certain) == (True, True)
    assert (shortcut.passed, shortcut.certain) == (False, True)
    assert shortcut.value.value == 0.0
    assert "AUC 1.000 of the background" in shortcut.text


def test_false_positive_rates_of_every_source_and_their_mean() -> None:
    p = CORRECT.copy()
    p[:40:2] = 0.95  # twenty of a hundred real ones of the first source
    sources = measure_sources(p, LABELS, ["a"] * 200 + ["b"] * 200, {"b"}, THRESHOLDS)
    a, b, mean = probe_false_positive_rates(sources, 0.05)
    assert (a.value.value, b.value.value, mean.value.value) == (0.2, 0.0, 0.1)
    assert (a.passed, a.certain) == (False, True)
    assert b.passed
    assert not mean.passed
    assert mean.value.low < 0.1 < mean.value.high


def test_one_source_needs_no_mean() -> None:
    sources = measure_sources(CORRECT, LABELS, ["a"] * 400, (), THRESHOLDS)
    assert [probe.code for probe in probe_false_positive_rates(sources, 0.05)] == ["false positives: a"]


@pytest.fixture(scope="module")
def split(portrait: Pixels) -> HeldOutSplit:
    """Sixteen copies of one crop; in the fakes the face has a blue cast."""
    face = FaceDetector().find(portrait)[0]
    crop, landmarks_px = align_face(portrait, face, SIDE_PX, 0.6), landmarks_in_crop(face, SIDE_PX, 0.6)
    inside = face_mask(landmarks_px, SIDE_PX) == 1
    crops = np.stack([crop] * 16)
    crops[8:, inside, 2] = np.minimum(255, crops[8:, inside, 2].astype(int) + 60)
    labels = np.repeat([0, 1], 8)
    return HeldOutSplit(crops, labels, [""] * 16, ["s"] * 16, np.stack([landmarks_px] * 16), [""] * 16)


def blueness(crops: Pixels) -> Floats:
    """The excess of blue over red, 0..1; the cast adds about 0.3."""
    excess = crops[..., 2].mean(axis=(1, 2)) - crops[..., 0].mean(axis=(1, 2))
    return np.asarray(np.clip(0.5 + excess / 128, 0, 1))


def test_the_mask_covers_eyes_nose_and_mouth_and_little_else(split: HeldOutSplit) -> None:
    landmarks_px = split.landmarks_px[0]
    mask = face_mask(landmarks_px, SIDE_PX)
    assert all(mask[int(y), int(x)] == 1 for x, y in landmarks_px)
    assert mask[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0
    assert 0.3 < mask.mean() < 0.75


def test_evidence_in_the_face_passes_and_evidence_in_the_background_fails(split: HeldOutSplit) -> None:
    honest = probe_crops(split, blueness(split.crops), blueness, SETTINGS)[-1]
    assert (honest.code, honest.passed) == ("background", True)
    crops = split.crops.copy()
    outside = face_mask(split.landmarks_px[0], SIDE_PX) == 0
    crops[8:] = crops[:8]
    crops[8:, outside, 2] = np.minimum(255, crops[8:, outside, 2].astype(int) + 60)
    shortcut = probe_crops(split._replace(crops=crops), blueness(crops), blueness, SETTINGS)[-1]
    assert not shortcut.passed


def test_a_score_of_colour_alone_passes_the_flip_and_a_score_of_one_half_fails(split: HeldOutSplit) -> None:
    probes = {probe.code: probe for probe in probe_crops(split, blueness(split.crops), blueness, SETTINGS)}
    assert set(TRANSFORMS) <= set(probes)
    assert probes["horizontal flip"].value.value == 0.0
    assert probes["shift by 8 px"].passed

    def left_half(crops: Pixels) -> Floats:
        brightness = crops[:, :, : SIDE_PX // 2].mean(axis=(1, 2, 3)) / 255
        return np.asarray(np.clip(brightness + np.linspace(0, 0.2, len(crops)), 0, 1))

    dark = split.crops.copy()
    dark[:, :, : SIDE_PX // 2] //= 4
    probes = {p.code: p for p in probe_crops(split._replace(crops=dark), left_half(dark), left_half, SETTINGS)}
    assert not probes["horizontal flip"].passed


def test_shifts_move_by_eight_pixels(split: HeldOutSplit) -> None:
    crop = split.crops[0]
    assert np.array_equal(TRANSFORMS["shift by 8 px"](crop)[8:, 8:], crop[:-8, :-8])
    assert np.array_equal(TRANSFORMS["shift by -8 px"](crop)[:-8, :-8], crop[8:, 8:])
