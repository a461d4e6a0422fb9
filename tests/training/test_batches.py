"""Epochs hold every crop once; order and augmentation depend on (seed, epoch, step) only; classes follow the kinds."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from deepfake_detector.datasets.archive import Entry
from deepfake_detector.errors import DataRejected
from deepfake_detector.media.augmentation import Augment, CorruptedView, CutMixPatches
from deepfake_detector.preparation.crops import CropResult
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.training import batches as batches_module
from deepfake_detector.training.batches import fitting_batch_size, held_out_batches, steps_per_epoch, training_batches

SIDE_PX, TRAIN, VALID = 32, 22, 10
SOURCES = ("generated", "generated", "swapped")  # of every three pictures
FAKE_KINDS = {"generated": "synthetic", "swapped": "swap"}
LANDMARKS_PX = np.array([(10, 12), (22, 12), (16, 17), (11, 22), (21, 22)], np.float32)
Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]
PLAIN = Augment("none")
CORRUPTED = Augment("corruptions", 0.5, 2)


def make_crops(split: str, n: int) -> list[CropResult]:
    """Crop i has the grey level i in its corner, and landmarks shifted by i / 100 px."""
    rng = np.random.default_rng(n)
    crops = []
    for i in range(n):
        pixels = rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        pixels[0, 0] = i
        entry = Entry(f"{split}/{i}.jpg", split, i % 2, "", SOURCES[i % 3])
        crops.append(CropResult(entry, pixels, landmarks_px=LANDMARKS_PX + np.float32(i / 100)))
    return crops


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    folder = tmp_path_factory.mktemp("shards")
    crops = [*make_crops("train", TRAIN), *make_crops("valid", VALID)]
    write_shards(crops, folder, SIDE_PX, 6 * SIDE_PX * SIDE_PX * 3, FAKE_KINDS)
    return Shards.open(folder)


def take(batches: tf.data.Dataset, skip: int, count: int) -> list[Batch]:
    return list(batches.skip(skip).take(count).as_numpy_iterator())


def crop_numbers(batches: Iterable[Batch]) -> list[int]:
    return [int(crop[0, 0, 0]) for crops, _ in batches for crop in crops]


def assert_same_batches(first: Sequence[Batch], second: Sequence[Batch]) -> None:
    for (crops, classes), (other_crops, other_classes) in zip(first, second, strict=True):
        assert np.array_equal(crops, other_crops)
        assert np.array_equal(classes, other_classes)


def test_cutmix_gives_each_cell_a_class_and_is_reproducible(shards: Shards) -> None:
    batches = training_batches(shards, 4, 1, ("synthetic", "swap"), PLAIN, CutMixPatches(0.9, 16))
    element = batches(0).element_spec
    assert (element[0].shape, element[1].shape) == ((4, SIDE_PX, SIDE_PX, 3), (4, 2, 2, 1))
    first, second = (take(batches(0), 0, 8) for _ in range(2))
    assert_same_batches(first, second)
    plain = take(training_batches(shards, 4, 1, ("synthetic", "swap"), PLAIN)(0), 0, 8)
    assert sum(
        not np.array_equal(a, b) for (mixed, _), (unmixed, _) in zip(first, plain, strict=True)
        for a, b in zip(mixed, unmixed, strict=True)
    ) > 15  # fmt: skip


@pytest.mark.parametrize("transform", [PLAIN, CORRUPTED])
def test_batches_are_crops_and_classes(shards: Shards, transform: Augment) -> None:
    ((crops, classes),) = take(training_batches(shards, 4, 1, ("synthetic", "swap"), transform)(0), 0, 1)
    assert (crops.shape, str(crops.dtype)) == ((4, SIDE_PX, SIDE_PX, 3), "uint8")
    assert (classes.shape, str(classes.dtype)) == ((4,), "int64")
    element = training_batches(shards, 4, 1, ("synthetic", "swap"), transform)(0).element_spec
    assert element[0].shape == (4, SIDE_PX, SIDE_PX, 3)  # static, so that the graph is built once


def test_each_epoch_holds_every_crop_once_in_another_order(shards: Shards) -> None:
    found = take(training_batches(shards, 2, 1, ("synthetic",), PLAIN)(0), 0, 33)
    epochs = [crop_numbers(found[11 * e : 11 * (e + 1)]) for e in range(3)]
    assert all(sorted(epoch) == list(range(TRAIN)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    other = crop_numbers(take(training_batches(shards, 2, 2, ("synthetic",), PLAIN)(0), 0, 11))
    assert other != epochs[0]


def test_crops_of_an_incomplete_batch_appear_in_other_epochs(shards: Shards) -> None:
    assert steps_per_epoch(shards, 4) == 5
    found = take(training_batches(shards, 4, 1, ("synthetic",), PLAIN)(0), 0, 30)
    epochs = [crop_numbers(found[5 * e : 5 * (e + 1)]) for e in range(6)]
    assert all(len(set(epoch)) == 20 for epoch in epochs)
    assert len(set.union(*map(set, epochs))) == TRAIN


@pytest.mark.parametrize("transform", [PLAIN, CORRUPTED])
def test_a_resumed_training_gets_the_same_batches(shards: Shards, transform: Augment) -> None:
    batches = training_batches(shards, 4, 9, ("synthetic", "swap"), transform)
    assert_same_batches(take(batches(0), 10, 7), take(batches(2), 0, 7))


def test_random_numbers_differ_between_epochs_and_crops(shards: Shards) -> None:
    """The transform writes a random number into each crop."""

    def stamp(
        crop: NDArray[np.uint8], landmarks_px: NDArray[np.float32], code: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], int]:
        crop = crop.copy()
        crop[0, 1] = rng.integers(0, 256, 3)
        return crop, code

    batches = training_batches(shards, 2, 5, ("synthetic",), stamp)(0)
    stamps = [crop[0, 1].tobytes() for crops, _ in take(batches, 0, 33) for crop in crops]
    assert len(set(stamps)) == len(stamps)


def test_each_crop_comes_with_its_own_landmarks(shards: Shards) -> None:
    def check(
        crop: NDArray[np.uint8], landmarks_px: NDArray[np.float32], code: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], int]:
        expected = LANDMARKS_PX + np.float32(int(crop[0, 0, 0]) / 100)
        return crop, int(np.array_equal(landmarks_px, expected))

    for batches in (
        training_batches(shards, 2, 5, ("synthetic",), check)(0).take(11),
        held_out_batches(shards, "valid", 4, ("synthetic",), [check]),
    ):
        assert all(classes.all() for _, classes in batches.as_numpy_iterator())


@pytest.mark.parametrize(
    ("kinds", "synthetic_code", "swap_code"),
    [(("synthetic", "swap"), 1, 2), (("swap", "synthetic"), 2, 1), (("swap",), 1, 1), (("synthetic",), 1, 1)],
)
def test_classes_follow_the_order_of_the_kinds(
    shards: Shards, kinds: tuple[str, ...], synthetic_code: int, swap_code: int
) -> None:
    """A kind that is not in the list still counts as fake."""
    found = take(training_batches(shards, 2, 1, kinds, PLAIN)(0), 0, 11)
    for crops, classes in [*found, *held_out_batches(shards, "valid", 4, kinds, [PLAIN]).as_numpy_iterator()]:
        for crop, code in zip(crops, classes, strict=True):
            i = int(crop[0, 0, 0])
            assert code == (0 if i % 2 == 0 else synthetic_code if SOURCES[i % 3] == "generated" else swap_code)


def test_self_blended_crops_have_the_class_of_swaps(shards: Shards) -> None:
    found = take(training_batches(shards, 2, 1, ("synthetic", "swap"), Augment("none", 0.9, 2))(0), 0, 33)
    codes = {0: 0, 1: 0, 2: 0}
    for crops, classes in found:
        for crop, code in zip(crops, classes, strict=True):
            i = int(crop[0, 0, 0])
            codes[int(code)] += 1
            if i % 2 == 0 and code:  # the mask spares the corner, so the number can be read
                assert code == 2
    assert codes[1] == 3 * sum(i % 2 and SOURCES[i % 3] == "generated" for i in range(TRAIN))
    assert codes[2] > codes[0]


def test_held_out_batches_are_the_same_at_every_pass(shards: Shards) -> None:
    batches = held_out_batches(shards, "valid", 4, ("synthetic", "swap"), [PLAIN, CorruptedView()])
    passes = [list(batches.as_numpy_iterator()) for _ in range(2)]
    assert [len(classes) for _, classes in passes[0]] == [4, 4, 2, 4, 4, 2]
    assert int(batches.cardinality()) == 6
    assert_same_batches(*passes)
    split = shards.arrays("valid")
    plain = np.concatenate([crops for crops, _ in passes[0][:3]])
    corrupted = np.concatenate([crops for crops, _ in passes[0][3:]])
    assert np.array_equal(plain, split.crops)
    assert not np.array_equal(corrupted, split.crops)
    for half in (passes[0][:3], passes[0][3:]):
        assert [int(code > 0) for _, classes in half for code in classes] == split.labels.tolist()


@pytest.mark.parametrize(("cores", "at_once"), [(1, 2), (2, 2), (16, 8)])
def test_the_cores_decide_how_many_batches_are_made_at_once_but_not_what_they_hold(
    shards: Shards, monkeypatch: pytest.MonkeyPatch, cores: int, at_once: int
) -> None:
    expected = take(training_batches(shards, 4, 7, ("synthetic", "swap"), CORRUPTED)(0), 0, 6)
    monkeypatch.setattr(batches_module, "available_cores", lambda: cores)
    assert batches_module.parallel_batches() == at_once
    found = take(training_batches(shards, 4, 7, ("synthetic", "swap"), CORRUPTED)(0), 0, 6)
    assert_same_batches(expected, found)


@pytest.mark.parametrize(("set_to", "crops", "expected"), [(64, 640, 64), (64, 36, 36), (64, 37, 36), (63, 64, 63)])
def test_a_batch_is_no_larger_than_the_training_split(set_to: int, crops: int, expected: int) -> None:
    assert fitting_batch_size(set_to, crops) == expected


@pytest.mark.parametrize("crops", [0, 1])
def test_less_than_two_crops_are_rejected(crops: int) -> None:
    with pytest.raises(DataRejected, match=rf"(?s){crops} training crops.*reports/prepare\.json"):
        fitting_batch_size(64, crops)
