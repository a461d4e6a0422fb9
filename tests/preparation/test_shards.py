"""Crops are read back from TFRecord to the byte, in order and one by one, with copies; the index and its summary."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.datasets.archive import Entry
from deepfake_detector.errors import DataRejected
from deepfake_detector.preparation.crop_requests import NO_FACE, Exclusion
from deepfake_detector.preparation.crops import CropResult
from deepfake_detector.preparation.shard_writer import summarize_index, write_shards
from deepfake_detector.preparation.shards import Record, RecordReader, Shards

SIDE = 16
KINDS = {"one": "synthetic", "two": "swap"}


def make_crops(n: int, split: str = "train") -> list[CropResult]:
    rng = np.random.default_rng(3)
    return [
        CropResult(
            Entry(f"a/{split}/{i}.jpg", split, i % 2, "", ("one", "two")[i // 2 % 2]),
            rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8),
            rng.uniform(0, SIDE, (5, 2)).astype(np.float32),
        )
        for i in range(n)
    ]


@pytest.fixture
def crops() -> list[CropResult]:
    return [
        *make_crops(20),
        *make_crops(5, "valid"),
        CropResult(Entry("a/test/0.jpg", "test", 1), exclusion=NO_FACE),
        *make_crops(3, "test"),
    ]


@pytest.fixture
def shards(tmp_path: Path, crops: list[CropResult]) -> Shards:
    write_shards(crops, tmp_path / "shards", SIDE, 6 * SIDE * SIDE * 3, KINDS)
    return Shards.open(tmp_path / "shards")


def test_crops_are_read_back_to_the_byte_and_every_picture_is_in_the_index(
    shards: Shards, crops: list[CropResult], tmp_path: Path
) -> None:
    split = shards.arrays("train")
    kept = [c for c in crops if c.entry.split == "train"]
    assert split.paths == [c.entry.path for c in kept]
    assert split.sources == [c.entry.source for c in kept]
    assert set(split.sources) == {"one", "two"}
    assert np.array_equal(split.crops, np.stack([c.pixels for c in kept if c.pixels is not None]))
    assert np.array_equal(split.landmarks_px, np.stack([c.landmarks_px for c in kept if c.landmarks_px is not None]))
    assert split.labels.tolist() == [c.entry.label for c in kept]
    assert split.kinds == [KINDS[c.entry.source] if c.entry.label else "" for c in kept]
    index = pd.read_parquet(tmp_path / "shards" / "index.parquet")
    assert len(index) == len(crops)
    assert index[index["reason"] != ""]["path"].tolist() == ["a/test/0.jpg"]
    assert sorted(p.name for p in (tmp_path / "shards").glob("train*")) == [f"train-0000{i}.tfrecord" for i in range(4)]


def test_the_digest_depends_on_every_pixel_and_label(shards: Shards, crops: list[CropResult], tmp_path: Path) -> None:
    before = shards.arrays("test").sha256
    assert crops[-1].pixels is not None
    crops[-1].pixels[0, 0, 0] ^= 1
    write_shards(crops, tmp_path / "other", SIDE, 10**6, KINDS)
    other = Shards.open(tmp_path / "other")
    assert other.arrays("test").sha256 != before
    train = shards.arrays("train")
    assert other.arrays("train").sha256 == train.sha256  # how they are spread over files does not matter
    assert train._replace(labels=1 - train.labels).sha256 != train.sha256


def test_the_summary_counts_every_picture(crops: list[CropResult], tmp_path: Path) -> None:
    more = [
        CropResult(Entry(f"b/{i}.jpg", "train", 0, "", "two"), exclusion=Exclusion("unusable_face", f"{i} px"))
        for i in (3, 4)
    ]
    summary = summarize_index(write_shards([*crops, *more], tmp_path / "shards", SIDE, 10**6, KINDS))
    assert summary["crops"] == {"train": 20, "valid": 5, "test": 3}
    assert summary["crops_per_source"]["one"] == {"train": 10, "valid": 3, "test": 2}
    assert summary["excluded"] == [
        {"source": "", "split": "test", "label": 1, "code": "faceless", "count": 1},
        {"source": "two", "split": "train", "label": 0, "code": "unusable_face", "count": 2},
    ]
    assert [row["path"] for row in summary["excluded_first"]] == ["a/test/0.jpg", "b/3.jpg", "b/4.jpg"]


def test_shards_of_an_earlier_run_are_replaced(crops: list[CropResult], tmp_path: Path) -> None:
    write_shards(crops, tmp_path / "shards", SIDE, 1, KINDS)
    write_shards(crops[:3], tmp_path / "shards", SIDE, 10**6, KINDS)
    assert len(Shards.open(tmp_path / "shards").arrays("train").paths) == 3


def test_the_kinds_are_those_of_the_training_split_in_the_order_of_the_outputs(tmp_path: Path) -> None:
    swaps_first = [c for c in make_crops(8) if c.entry.source == "two"] + [
        c for c in make_crops(8) if c.entry.source == "one"
    ]
    write_shards(swaps_first, tmp_path / "both", SIDE, 10**6, KINDS)
    assert Shards.open(tmp_path / "both").kinds == ("synthetic", "swap")
    one_kind = [c for c in make_crops(8) if c.entry.source == "one"] + make_crops(8, "valid")
    write_shards(one_kind, tmp_path / "one", SIDE, 10**6, KINDS)
    assert Shards.open(tmp_path / "one").kinds == ("synthetic",)


def make_crops_with_copies() -> list[CropResult]:
    """Training crop i has i % 3 copies; the first of two is lost."""
    numbers = iter(make_crops(60))
    crops = []
    for i, crop in enumerate(make_crops(12)):
        entry = replace(crop.entry, group=f"g{i // 2}")
        copies = [replace(next(numbers), entry=entry) for _ in range(i % 3)]
        if len(copies) == 2:
            copies[0] = CropResult(entry, exclusion=NO_FACE)
        crops.append(replace(crop, entry=entry, copies=tuple(copies)))
    return [*crops, *make_crops(3, "valid")]


@pytest.fixture
def with_copies(tmp_path: Path) -> Shards:
    write_shards(make_crops_with_copies(), tmp_path / "shards", SIDE, 6 * SIDE * SIDE * 3, KINDS)
    return Shards.open(tmp_path / "shards")


def test_reading_in_order_leaves_copies_out(with_copies: Shards) -> None:
    assert (with_copies.crops, with_copies.copies) == ({"train": 12, "valid": 3}, 8)
    split = with_copies.arrays("train")
    crops = make_crops(12)
    assert split.paths == [crop.entry.path for crop in crops]
    assert np.array_equal(split.crops, np.stack([crop.pixels for crop in crops if crop.pixels is not None]))


def test_the_index_has_a_row_per_picture_and_per_copy(with_copies: Shards) -> None:
    index = with_copies.index()
    assert index.groupby("copy").size().to_dict() == {0: 15, 1: 8, 2: 4}
    lost = index[index["shard"] == ""]
    assert (set(lost["copy"]), set(lost["code"]), set(lost["offset"])) == ({1}, {"faceless"}, {-1})
    kept = index[(index["shard"] != "") & (index["split"] == "train")]
    assert kept["group"].tolist() == [f"g{int(path[8:-4]) // 2}" for path in kept["path"]]
    assert set(kept.loc[kept["label"] == 1, "kind"]) == {"synthetic", "swap"}
    assert set(kept.loc[kept["label"] == 0, "kind"]) == {""}
    assert kept.groupby("path")["shard"].nunique().max() == 1  # a picture and its copies lie in one file
    summary = summarize_index(index)
    assert (summary["crops"], summary["copies"]) == ({"train": 12, "valid": 3}, 8)
    assert sum(row["count"] for row in summary["lost_copies"]) == 4
    assert summary["excluded"] == []


def expected_records() -> list[Record]:
    records = []
    for crop in make_crops_with_copies():
        kind = KINDS[crop.entry.source] if crop.entry.label else ""
        for one in (crop, *crop.copies):
            if one.pixels is not None and one.landmarks_px is not None:
                records.append(Record(one.pixels, one.landmarks_px, crop.entry.label, kind))
    return records


def test_single_records_are_read_in_any_order_by_several_threads(with_copies: Shards) -> None:
    index, expected = with_copies.index(), expected_records()
    rows = index[index["shard"] != ""]
    assert len(rows) == len(expected)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(rows)), 20))
    with RecordReader(with_copies.folder) as reader, ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda i: reader.read(rows["shard"].iloc[i], rows["offset"].iloc[i]), order))
    for i, record in zip(order, read, strict=True):
        assert np.array_equal(record.pixels, expected[i].pixels)
        assert np.array_equal(record.landmarks_px, expected[i].landmarks_px)
        assert record[2:] == expected[i][2:]
        assert record.pixels.dtype == np.uint8
        assert record.landmarks_px.dtype == np.float32


@pytest.mark.parametrize("offset", [1, 100, 10**9])
def test_a_place_where_no_record_begins_is_refused(with_copies: Shards, offset: int) -> None:
    with RecordReader(with_copies.folder) as reader:
        reader.read("train-00000.tfrecord", 0)
        with pytest.raises(DataRejected, match=f"train-00000.tfrecord begins at byte {offset}"):
            reader.read("train-00000.tfrecord", offset)
        with pytest.raises(FileNotFoundError):
            reader.read("train-00099.tfrecord", 0)


def open_files() -> set[str]:
    return {str(path.readlink()) for path in Path("/proc/self/fd").glob("*") if path.is_symlink()}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc")
def test_a_closed_reader_holds_no_files(with_copies: Shards) -> None:
    shard = str(with_copies.folder / "train-00000.tfrecord")
    with RecordReader(with_copies.folder) as reader:
        reader.read("train-00000.tfrecord", 0)
        assert shard in open_files()
    assert shard not in open_files()
