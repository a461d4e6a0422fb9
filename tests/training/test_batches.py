"""Epochs hold every crop once; order and changes hang on (seed, epoch, step) alone; classes are coded by kind."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest

from deepfake_detector.datasets.archive import Entry
from deepfake_detector.errors import DataRejected
from deepfake_detector.media.augmentation import Augment, Patchwork, Sent
from deepfake_detector.preparation.crops import Crop
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.training.batches import held_out_batches, steps_per_epoch, training_batches

SIDE_PX, TRAIN, VALID = 32, 22, 10
SOURCES = ("made", "made", "put")  # of every three pictures
FAKE_KINDS = {"made": "synthetic", "put": "swap"}
LANDMARKS_PX = np.array([(10, 12), (22, 12), (16, 17), (11, 22), (21, 22)], np.float32)
PLAIN = Augment("none")
TRAFFIC = Augment("traffic", 0.5, 2)


def made(split: str, n: int) -> list[Crop]:
    """Crop i has the grey i in its corner, and a landmark of its own."""
    rng = np.random.default_rng(n)
    crops = []
    for i in range(n):
        pixels = rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        pixels[0, 0] = i
        entry = Entry(f"{split}/{i}.jpg", split, i % 2, "", SOURCES[i % 3])
        crops.append(Crop(entry, pixels, "", landmarks_px=LANDMARKS_PX + np.float32(i / 100)))
    return crops


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    folder = tmp_path_factory.mktemp("shards")
    crops = [*made("train", TRAIN), *made("valid", VALID)]
    write_shards(crops, folder, SIDE_PX, 6 * SIDE_PX * SIDE_PX * 3, FAKE_KINDS)
    return Shards.open(folder)


def taken(batches, skip: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(batches.skip(skip).take(count).as_numpy_iterator())


def numbers(batches) -> list[int]:
    return [int(crop[0, 0, 0]) for crops, _ in batches for crop in crops]


def test_a_mix_gives_every_place_its_class_and_is_the_same_again(shards: Shards) -> None:
    make = training_batches(shards, 4, 1, ("synthetic", "swap"), PLAIN, Patchwork(0.9, 16))
    element = make(0).element_spec
    assert (element[0].shape, element[1].shape) == ((4, SIDE_PX, SIDE_PX, 3), (4, 2, 2, 1))
    (first, again) = (taken(make(0), 0, 8) for _ in range(2))
    for (crops, places), (same, alike) in zip(first, again, strict=True):
        assert np.array_equal(crops, same)
        assert np.array_equal(places, alike)
    plain = taken(training_batches(shards, 4, 1, ("synthetic", "swap"), PLAIN)(0), 0, 8)
    assert sum(
        not np.array_equal(a, b) for (mixed, _), (whole, _) in zip(first, plain, strict=True)
        for a, b in zip(mixed, whole, strict=True)
    ) > 15  # fmt: skip


@pytest.mark.parametrize("change", [PLAIN, TRAFFIC])
def test_batches_are_crops_and_classes(shards: Shards, change) -> None:
    ((crops, classes),) = taken(training_batches(shards, 4, 1, ("synthetic", "swap"), change)(0), 0, 1)
    assert (crops.shape, crops.dtype) == ((4, SIDE_PX, SIDE_PX, 3), np.uint8)
    assert (classes.shape, classes.dtype) == ((4,), np.int64)
    element = training_batches(shards, 4, 1, ("synthetic", "swap"), change)(0).element_spec
    assert element[0].shape == (4, SIDE_PX, SIDE_PX, 3)  # known beforehand, so that the graph is built once


def test_each_epoch_holds_every_crop_once_in_another_order(shards: Shards) -> None:
    found = taken(training_batches(shards, 2, 1, ("synthetic",), PLAIN)(0), 0, 33)
    epochs = [numbers(found[11 * e : 11 * (e + 1)]) for e in range(3)]
    assert all(sorted(epoch) == list(range(TRAIN)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    other = numbers(taken(training_batches(shards, 2, 2, ("synthetic",), PLAIN)(0), 0, 11))
    assert other != epochs[0]


def test_what_does_not_fill_a_batch_waits_for_another_epoch(shards: Shards) -> None:
    assert steps_per_epoch(shards, 4) == 5
    found = taken(training_batches(shards, 4, 1, ("synthetic",), PLAIN)(0), 0, 30)
    epochs = [numbers(found[5 * e : 5 * (e + 1)]) for e in range(6)]
    assert all(len(set(epoch)) == 20 for epoch in epochs)
    assert len(set.union(*map(set, epochs))) == TRAIN


@pytest.mark.parametrize("change", [PLAIN, TRAFFIC])
def test_a_resumed_training_sees_what_it_would_have_seen(shards: Shards, change) -> None:
    make = training_batches(shards, 4, 9, ("synthetic", "swap"), change)
    whole, resumed = taken(make(0), 10, 7), taken(make(2), 0, 7)
    for (crops, classes), (again, same) in zip(whole, resumed, strict=True):
        assert np.array_equal(crops, again)
        assert np.array_equal(classes, same)


def test_changes_differ_from_epoch_to_epoch_and_from_crop_to_crop(shards: Shards) -> None:
    """A change that draws one number and writes it into the picture."""

    def stamp(crop, landmarks, code, random):
        crop = crop.copy()
        crop[0, 1] = random.integers(0, 256, 3)
        return crop, code

    batches = training_batches(shards, 2, 5, ("synthetic",), stamp)(0)
    stamps = [crop[0, 1].tobytes() for crops, _ in taken(batches, 0, 33) for crop in crops]
    assert len(set(stamps)) == len(stamps)


def test_each_crop_comes_with_its_own_landmarks(shards: Shards) -> None:
    def check(crop, landmarks, code, random):
        expected = LANDMARKS_PX + np.float32(int(crop[0, 0, 0]) / 100)
        return crop, int(np.array_equal(landmarks, expected))

    for batches in (
        training_batches(shards, 2, 5, ("synthetic",), check)(0).take(11),
        held_out_batches(shards, "valid", 4, ("synthetic",), [check]),
    ):
        assert all(classes.all() for _, classes in batches.as_numpy_iterator())


@pytest.mark.parametrize(
    ("kinds", "code_made", "code_put"),
    [(("synthetic", "swap"), 1, 2), (("swap", "synthetic"), 2, 1), (("swap",), 1, 1), (("synthetic",), 1, 1)],
)
def test_classes_are_coded_in_the_order_of_the_kinds(shards: Shards, kinds, code_made: int, code_put: int) -> None:
    """A kind that is not learnt still counts as fake."""
    found = taken(training_batches(shards, 2, 1, kinds, PLAIN)(0), 0, 11)
    for crops, classes in [*found, *held_out_batches(shards, "valid", 4, kinds, [PLAIN]).as_numpy_iterator()]:
        for crop, code in zip(crops, classes, strict=True):
            i = int(crop[0, 0, 0])
            assert code == (0 if i % 2 == 0 else code_made if SOURCES[i % 3] == "made" else code_put)


def test_blended_crops_are_of_the_class_of_swaps(shards: Shards) -> None:
    found = taken(training_batches(shards, 2, 1, ("synthetic", "swap"), Augment("none", 0.9, 2))(0), 0, 33)
    codes = {0: 0, 1: 0, 2: 0}
    for crops, classes in found:
        for crop, code in zip(crops, classes, strict=True):
            i = int(crop[0, 0, 0])
            codes[int(code)] += 1
            if i % 2 == 0 and code:  # a corner is never in the mask, so the number can still be read, or is nearly so
                assert code == 2
    assert codes[1] == 3 * sum(i % 2 and SOURCES[i % 3] == "made" for i in range(TRAIN))
    assert codes[2] > codes[0]


def test_the_held_out_split_repeats_itself_exactly(shards: Shards) -> None:
    batches = held_out_batches(shards, "valid", 4, ("synthetic", "swap"), [PLAIN, Sent()])
    rounds = [list(batches.as_numpy_iterator()) for _ in range(2)]
    assert [len(classes) for _, classes in rounds[0]] == [4, 4, 2, 4, 4, 2]
    assert int(batches.cardinality()) == 6
    for (crops, classes), (again, same) in zip(*rounds, strict=True):
        assert np.array_equal(crops, again)
        assert np.array_equal(classes, same)
    held = shards.arrays("valid")
    plain = np.concatenate([crops for crops, _ in rounds[0][:3]])
    sent = np.concatenate([crops for crops, _ in rounds[0][3:]])
    assert np.array_equal(plain, held.crops)
    assert not np.array_equal(sent, held.crops)
    for half in (rounds[0][:3], rounds[0][3:]):
        assert [int(code > 0) for _, classes in half for code in classes] == held.labels.tolist()


def test_too_few_crops_for_one_batch(shards: Shards) -> None:
    with pytest.raises(DataRejected, match="22 training crops do not fill one batch of 64"):
        steps_per_epoch(shards, 64)
