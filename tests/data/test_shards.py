"""Crops survive the way through TFRecord to the byte, and an interrupted epoch order is the same order."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
import tensorflow as tf

from deepfake_detector.data.archives import Entry
from deepfake_detector.data.crops import Crop
from deepfake_detector.data.shards import Shards, summary, write_shards
from deepfake_detector.errors import DataRejected
from deepfake_detector.model.augment import flip_and_shift

SIDE = 16


def made(n: int, split: str = "train") -> list[Crop]:
    rng = np.random.default_rng(3)
    return [
        Crop(
            Entry(f"a/{split}/{i}.jpg", split, i % 2, "", ("one", "two")[i // 2 % 2]),
            rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8),
            "",
        )
        for i in range(n)
    ]


@pytest.fixture
def crops() -> list[Crop]:
    return [
        *made(20),
        *made(5, "valid"),
        Crop(Entry("a/test/0.jpg", "test", 1), None, "no face found", "faceless"),
        *made(3, "test"),
    ]


@pytest.fixture
def shards(tmp_path, crops) -> Shards:
    write_shards(crops, tmp_path / "shards", SIDE, shard_bytes=6 * SIDE * SIDE * 3)
    return Shards.open(tmp_path / "shards")


def test_pixels_come_back_to_the_byte_and_nothing_vanishes(shards, crops, tmp_path) -> None:
    import pandas as pd

    pixels, labels, paths, sources = shards.arrays("train")
    kept = [c for c in crops if c.entry.split == "train"]
    assert paths == [c.entry.path for c in kept]
    assert sources == [c.entry.source for c in kept]
    assert set(sources) == {"one", "two"}
    assert np.array_equal(pixels, np.stack([c.pixels for c in kept]))
    assert labels.tolist() == [c.entry.label for c in kept]
    index = pd.read_parquet(tmp_path / "shards" / "index.parquet")
    assert len(index) == len(crops)
    assert index[index["reason"] != ""]["path"].tolist() == ["a/test/0.jpg"]
    assert sorted(p.name for p in (tmp_path / "shards").glob("train*")) == [f"train-0000{i}.tfrecord" for i in range(4)]


def test_training_epochs_hold_every_crop_once_in_another_order(shards) -> None:
    batches = shards.training(batch=4, seed=1)(0)
    epochs = [np.concatenate([x.numpy() for x, _ in batches.skip(5 * e).take(5)]) for e in range(2)]
    assert not np.array_equal(epochs[0], epochs[1])
    everything = np.sort(shards.arrays("train")[0].reshape(20, -1), axis=0)
    for epoch in epochs:
        assert np.array_equal(np.sort(epoch.reshape(20, -1), axis=0), everything)


@pytest.mark.parametrize("augment", [None, flip_and_shift])
def test_a_resumed_training_sees_what_it_would_have_seen(shards, augment) -> None:
    whole = shards.training(4, seed=9, augment=augment)(0).skip(10).take(5)
    resumed = shards.training(4, seed=9, augment=augment)(2).take(5)
    for (a, la), (b, lb) in zip(whole, resumed, strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(la, lb)


def test_augmentation_moves_pixels_and_invents_none() -> None:
    crop = tf.constant(made(1)[0].pixels)
    seen = [flip_and_shift(crop, tf.constant([1, i])).numpy() for i in range(20)]
    assert len({c.tobytes() for c in seen}) > 10
    known = {tuple(p) for p in crop.numpy().reshape(-1, 3)}
    assert all({tuple(p) for p in c.reshape(-1, 3)} <= known for c in seen)


def test_digest_sees_one_pixel_and_one_label(shards, crops, tmp_path) -> None:
    before = shards.digest("test")
    crops[-1].pixels[0, 0, 0] ^= 1
    write_shards(crops, tmp_path / "other", SIDE, 10**6)
    assert Shards.open(tmp_path / "other").digest("test") != before
    assert Shards.open(tmp_path / "other").digest("train") == shards.digest("train")


def test_too_few_crops_for_one_batch(shards) -> None:
    assert shards.steps(4) == 5
    with pytest.raises(DataRejected, match="20 training crops do not fill one batch of 64"):
        shards.steps(64)


def test_the_summary_counts_every_picture(crops, tmp_path) -> None:
    more = [Crop(Entry(f"b/{i}.jpg", "train", 0, "", "two"), None, f"the face is {i} px", "unfit") for i in (3, 4)]
    told = summary(write_shards([*crops, *more], tmp_path / "shards", SIDE, 10**6))
    assert told["crops"] == {"train": 20, "valid": 5, "test": 3}
    assert told["crops_per_source"]["one"] == {"train": 10, "valid": 3, "test": 2}
    assert told["left_out"] == [
        {"source": "", "split": "test", "label": 1, "why": "faceless", "n": 1},
        {"source": "two", "split": "train", "label": 0, "why": "unfit", "n": 2},
    ]
    assert [row["path"] for row in told["left_out_first"]] == ["a/test/0.jpg", "b/3.jpg", "b/4.jpg"]


def test_shards_of_an_earlier_run_do_not_stay(crops, tmp_path) -> None:
    write_shards(crops, tmp_path / "shards", SIDE, shard_bytes=1)
    write_shards(crops[:3], tmp_path / "shards", SIDE, shard_bytes=10**6)
    assert len(Shards.open(tmp_path / "shards").arrays("train").paths) == 3
