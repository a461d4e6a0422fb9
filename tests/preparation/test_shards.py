"""Crops survive the way through TFRecord to the byte, their landmarks and kinds with them."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest

from deepfake_detector.datasets.archive import Entry
from deepfake_detector.preparation.crops import Crop
from deepfake_detector.preparation.shard_writer import summary, write_shards
from deepfake_detector.preparation.shards import Shards

SIDE = 16
KINDS = {"one": "synthetic", "two": "swap"}


def made(n: int, split: str = "train") -> list[Crop]:
    rng = np.random.default_rng(3)
    return [
        Crop(
            Entry(f"a/{split}/{i}.jpg", split, i % 2, "", ("one", "two")[i // 2 % 2]),
            rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8),
            "",
            landmarks_px=rng.uniform(0, SIDE, (5, 2)).astype(np.float32),
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
    write_shards(crops, tmp_path / "shards", SIDE, 6 * SIDE * SIDE * 3, KINDS)
    return Shards.open(tmp_path / "shards")


def test_pixels_come_back_to_the_byte_and_nothing_vanishes(shards, crops, tmp_path) -> None:
    import pandas as pd

    held = shards.arrays("train")
    kept = [c for c in crops if c.entry.split == "train"]
    assert held.paths == [c.entry.path for c in kept]
    assert held.sources == [c.entry.source for c in kept]
    assert set(held.sources) == {"one", "two"}
    assert np.array_equal(held.crops, np.stack([c.pixels for c in kept]))
    assert np.array_equal(held.landmarks_px, np.stack([c.landmarks_px for c in kept]))
    assert held.labels.tolist() == [c.entry.label for c in kept]
    assert held.kinds == [KINDS[c.entry.source] if c.entry.label else "" for c in kept]
    index = pd.read_parquet(tmp_path / "shards" / "index.parquet")
    assert len(index) == len(crops)
    assert index[index["reason"] != ""]["path"].tolist() == ["a/test/0.jpg"]
    assert sorted(p.name for p in (tmp_path / "shards").glob("train*")) == [f"train-0000{i}.tfrecord" for i in range(4)]


def test_digest_sees_one_pixel_and_the_labels(shards, crops, tmp_path) -> None:
    before = shards.arrays("test").sha256
    crops[-1].pixels[0, 0, 0] ^= 1
    write_shards(crops, tmp_path / "other", SIDE, 10**6, KINDS)
    other = Shards.open(tmp_path / "other")
    assert other.arrays("test").sha256 != before
    held = shards.arrays("train")
    assert other.arrays("train").sha256 == held.sha256  # how they are spread over files does not matter
    assert held._replace(labels=1 - held.labels).sha256 != held.sha256


def test_the_summary_counts_every_picture(crops, tmp_path) -> None:
    more = [Crop(Entry(f"b/{i}.jpg", "train", 0, "", "two"), None, f"the face is {i} px", "unfit") for i in (3, 4)]
    told = summary(write_shards([*crops, *more], tmp_path / "shards", SIDE, 10**6, KINDS))
    assert told["crops"] == {"train": 20, "valid": 5, "test": 3}
    assert told["crops_per_source"]["one"] == {"train": 10, "valid": 3, "test": 2}
    assert told["left_out"] == [
        {"source": "", "split": "test", "label": 1, "why": "faceless", "n": 1},
        {"source": "two", "split": "train", "label": 0, "why": "unfit", "n": 2},
    ]
    assert [row["path"] for row in told["left_out_first"]] == ["a/test/0.jpg", "b/3.jpg", "b/4.jpg"]


def test_shards_of_an_earlier_run_do_not_stay(crops, tmp_path) -> None:
    write_shards(crops, tmp_path / "shards", SIDE, 1, KINDS)
    write_shards(crops[:3], tmp_path / "shards", SIDE, 10**6, KINDS)
    assert len(Shards.open(tmp_path / "shards").arrays("train").paths) == 3


def test_the_kinds_are_those_of_the_training_split_in_the_networks_order(tmp_path) -> None:
    swaps_first = [c for c in made(8) if c.entry.source == "two"] + [c for c in made(8) if c.entry.source == "one"]
    write_shards(swaps_first, tmp_path / "both", SIDE, 10**6, KINDS)
    assert Shards.open(tmp_path / "both").kinds == ("synthetic", "swap")
    one_kind = [c for c in made(8) if c.entry.source == "one"] + made(8, "valid")
    write_shards(one_kind, tmp_path / "one", SIDE, 10**6, KINDS)
    assert Shards.open(tmp_path / "one").kinds == ("synthetic",)
