"""Balanced batches hold the crops, classes and changes that the sampler chose, and depend on their number only."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from deepfake_detector.config import read_settings
from deepfake_detector.datasets.archive import Entry
from deepfake_detector.media import augmentation
from deepfake_detector.media.augmentation import Augment, CorruptedView, CutMixPatches
from deepfake_detector.preparation.crops import CropResult
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.training import balanced_batches
from deepfake_detector.training.balanced_batches import (
    BalancedAugment,
    balanced_steps,
    balanced_training_batches,
    balanced_valid_batches,
    valid_rows,
)
from deepfake_detector.training.balanced_sampling import BalancedSampler, Draw

SIDE_PX, BATCH, STEPS = 32, 8, 5
LANDMARKS_PX = np.array([(10, 12), (22, 12), (16, 17), (11, 22), (21, 22)], np.float32)
FAKE_KINDS = {"faces": "synthetic", "swaps": "swap", "left_out": "swap"}
KINDS = ("synthetic", "swap")
WEIGHTS = {"faces": 1.0, "swaps": 1.0}
Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]


def make_crops(split: str, count: int) -> list[CropResult]:
    """Three sources in turn; the pixels tell source, label and copy: (10 * source + label, picture, copy)."""
    made = []
    for i in range(count):
        source, label = list(FAKE_KINDS)[i % 3], i // 3 % 2
        entry = Entry(f"{source}/{split}/{i}.jpg", split, label, f"{source}/{i // 6}", source)
        pixels = [np.full((SIDE_PX, SIDE_PX, 3), (10 * (i % 3) + label, i, copy), np.uint8) for copy in range(3)]
        first, *copies = (CropResult(entry, crop, landmarks_px=LANDMARKS_PX) for crop in pixels)
        made.append(replace(first, copies=tuple(copies) if split == "train" else ()))
    return made


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    folder = tmp_path_factory.mktemp("balanced") / "shards"
    crops = [*make_crops("train", 60), *make_crops("valid", 36)]
    write_shards(crops, folder, SIDE_PX, 20 * SIDE_PX * SIDE_PX * 3, FAKE_KINDS)
    return Shards.open(folder)


def batches(
    shards: Shards, first: int, count: int, level: str = "none", seed: int = 1, blended_share: float = 0.0
) -> list[Batch]:
    index = shards.index()
    sampler = BalancedSampler(index, WEIGHTS, BATCH, blended_share)
    augment = BalancedAugment(level, 2)  # type: ignore[arg-type]
    data = balanced_training_batches(shards, index, sampler, STEPS, seed, KINDS, augment)(first)
    return list(data.take(count).as_numpy_iterator())


def assert_same_batches(first: Sequence[Batch], second: Sequence[Batch]) -> None:
    for (crops, classes), (other_crops, other_classes) in zip(first, second, strict=True):
        assert np.array_equal(crops, other_crops)
        assert np.array_equal(classes, other_classes)


def test_batches_hold_the_drawn_crops_with_their_classes(shards: Shards) -> None:
    found = batches(shards, 0, 20)
    for crops, classes in found:
        assert (crops.shape, str(crops.dtype), str(classes.dtype)) == ((BATCH, SIDE_PX, SIDE_PX, 3), "uint8", "int64")
        assert (classes == 0).sum() == BATCH // 2
        expected = {0: 0, 1: 1, 10: 0, 11: 2}  # of the pixels: source, then label
        assert [expected[int(crop[0, 0, 0])] for crop in crops] == classes.tolist()
    copies = np.concatenate([crops[:, 0, 0, 2] for crops, _ in found])
    assert set(copies) == {0, 1, 2}


def test_shapes_are_static_so_that_the_graph_is_built_once(shards: Shards) -> None:
    index = shards.index()
    sampler = BalancedSampler(index, WEIGHTS, BATCH)
    plain = balanced_training_batches(shards, index, sampler, STEPS, 1, KINDS, BalancedAugment("none", 0))(0)
    assert [spec.shape for spec in plain.element_spec] == [(BATCH, SIDE_PX, SIDE_PX, 3), (BATCH,)]
    mix = CutMixPatches(0.9, 16, 2)
    mixed = balanced_training_batches(shards, index, sampler, STEPS, 1, KINDS, BalancedAugment("none", 0), mix)(0)
    assert mixed.element_spec[1].shape == (BATCH, 2, 2, 1)
    assert next(mixed.as_numpy_iterator())[1].shape == (BATCH, 2, 2, 1)


@pytest.mark.parametrize("level", ["none", "corruptions"])
def test_a_resumed_training_gets_the_same_batches(shards: Shards, level: str) -> None:
    whole = batches(shards, 0, 3 * STEPS, level, blended_share=0.5)
    assert_same_batches(whole[2 * STEPS :], batches(shards, 2, STEPS, level, blended_share=0.5))
    assert not np.array_equal(whole[0][0], whole[STEPS][0])  # each epoch has others
    assert not np.array_equal(whole[0][0], batches(shards, 0, 1, level, seed=2, blended_share=0.5)[0][0])


def test_self_blended_reals_take_the_places_of_fakes(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "self_blend", lambda crop, landmarks_px, rng: crop)  # to tell what it was made of
    for crops, classes in batches(shards, 0, 10, blended_share=0.5):
        assert (classes == 0).sum() == BATCH // 2
        assert (classes[-2:] == 2).all()
        assert set(crops[-2:, 0, 0, 0]) <= {0, 10}


def test_matched_copies_are_not_corrupted_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = list[str]()

    def record(self: Augment, crop: object, landmarks_px: object, code: int, rng: object) -> tuple[object, int]:
        levels.append(self.level)
        return crop, code

    monkeypatch.setattr(Augment, "__call__", record)
    crop, rng = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8), np.random.default_rng(0)
    for level in ("none", "shift", "corruptions"):
        augment = BalancedAugment(level, 2)
        for matched in (False, True):
            augment(crop, LANDMARKS_PX, 0, Draw(0, matched, blended=False), rng)
    assert levels == ["none", "none", "shift", "shift", "corruptions", "light"]


def test_an_epoch_has_the_steps_that_are_set_or_as_many_as_the_pictures_fill(shards: Shards) -> None:
    settings = replace(read_settings(Path(__file__).parents[2] / "params.yaml").train, batch_size=BATCH)
    sampler = BalancedSampler(shards.index(), WEIGHTS, BATCH)
    assert balanced_steps(settings, sampler) == 40 // BATCH
    assert balanced_steps(replace(settings, steps_per_epoch=123), sampler) == 123


def test_validation_holds_each_source_with_a_weight_once_per_view(shards: Shards) -> None:
    index = shards.index()
    data = balanced_valid_batches(shards, index, WEIGHTS, KINDS, [Augment("none"), CorruptedView()])
    first, second = (list(data.as_numpy_iterator()) for _ in range(2))
    assert_same_batches(first, second)
    assert len(data) == len(first) == 2
    crops, classes = first[0]
    assert len(crops) == 24
    assert sorted(np.bincount(classes)) == [6, 6, 12]
    assert {int(crop[0, 0, 0]) for crop in crops} == {0, 1, 10, 11}  # nothing of the source that is left out
    assert not np.array_equal(crops, first[1][0])


def test_a_large_source_is_validated_on_a_part(monkeypatch: pytest.MonkeyPatch, shards: Shards) -> None:
    monkeypatch.setattr(balanced_batches, "MAX_VALID_CROPS", 3)
    index = shards.index()
    rows = index.loc[valid_rows(index, WEIGHTS)]
    assert set(rows["split"]) == {"valid"}
    assert rows.groupby(["source", "label"]).size().tolist() == [3, 3, 3, 3]
    assert list(rows.index) == sorted(rows.index)
    assert len(valid_rows(index[index["split"] == "train"], WEIGHTS)) == 0


def test_a_kind_that_is_not_trained_on_counts_as_the_first(shards: Shards) -> None:
    index: pd.DataFrame = shards.index()
    data: tf.data.Dataset = balanced_valid_batches(shards, index, WEIGHTS, ("synthetic",), [Augment("none")])
    assert {int(code) for _, classes in data.as_numpy_iterator() for code in classes} == {0, 1}
