"""An interrupted run resumes and writes the same bytes; incomplete files are never read."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake_detector import code_digest
from deepfake_detector.datasets.archive import Entry
from deepfake_detector.preparation.crop_requests import NO_FACE
from deepfake_detector.preparation.crops import CropResult
from deepfake_detector.preparation.partial_shards import PartialShards, resume_partial_shards
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import Shards

SIDE = 8
KINDS = {"s": "swap"}


def make_crops() -> list[CropResult]:
    """21 pictures, of which every fourth and the last one of `test` give no crop."""
    rng = np.random.default_rng(0)
    crops = []
    for split, n in (("train", 13), ("valid", 2), ("test", 6)):
        for i in range(n):
            pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            excluded = i % 4 == 0 or (split, i) == ("test", 5)
            entry = Entry(f"{split}/{i}.jpg", split, i % 2, "", "s")
            landmarks_px = rng.uniform(0, SIDE, (5, 2)).astype(np.float32)
            crops.append(CropResult(entry, exclusion=NO_FACE) if excluded else CropResult(entry, pixels, landmarks_px))
    return crops


def write(
    crops: Sequence[CropResult] | Iterator[CropResult], to: Path, partial: PartialShards | None = None
) -> pd.DataFrame:
    return write_shards(crops, to, SIDE, 4 * SIDE * SIDE * 3, KINDS, partial)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("expected")
    index = write(make_crops(), folder / "shards")
    assert list(index["path"]) == [crop.entry.path for crop in make_crops()]
    assert [path.name for path in folder.iterdir()] == ["shards"]
    return contents(folder / "shards")


def interrupted_at(crops: Sequence[CropResult], at: int) -> Iterator[CropResult]:
    yield from crops[:at]
    raise KeyboardInterrupt


def test_a_file_ends_where_it_is_full_or_its_split_ends(expected: dict[str, bytes]) -> None:
    assert [name for name in expected if name.endswith(".tfrecord")] == [
        "test-00000.tfrecord", "train-00000.tfrecord", "train-00001.tfrecord", "train-00002.tfrecord",
        "valid-00000.tfrecord",
    ]  # fmt: skip


@pytest.mark.parametrize("at", range(22))
def test_the_bytes_are_the_same_wherever_it_is_interrupted(at: int, expected: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(interrupted_at(make_crops(), at), tmp_path / "shards", resume_partial_shards(tmp_path / "cache", "a"))
    assert not (tmp_path / "shards").exists()
    again = resume_partial_shards(tmp_path / "cache", "a")
    assert at - 6 <= again.pictures <= at  # at most one file and the exclusions around it are lost
    write(make_crops()[again.pictures :], tmp_path / "shards", again)
    assert contents(tmp_path / "shards") == expected
    assert Shards.open(tmp_path / "shards").crops == {"train": 9, "valid": 1, "test": 3}
    assert list((tmp_path / "cache").iterdir()) == []


def add_copies(crops: Sequence[CropResult]) -> list[CropResult]:
    """Training pictures with a crop get two copies; of every third picture the second is lost."""
    added = []
    for i, crop in enumerate(crops):
        copies = [replace(crop, pixels=255 - crop.pixels)] * 2 if crop.pixels is not None else []
        if i % 3 == 0 and copies:
            copies[1] = CropResult(crop.entry, exclusion=NO_FACE)
        added.append(replace(crop, copies=tuple(copies)) if crop.entry.split == "train" else crop)
    return added


@pytest.mark.parametrize("at", range(1, 22, 3))
def test_copies_are_written_once_wherever_it_is_interrupted(at: int, tmp_path: Path) -> None:
    crops = add_copies(make_crops())
    write(crops, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        write(interrupted_at(crops, at), tmp_path / "shards", resume_partial_shards(tmp_path / "cache", "a"))
    again = resume_partial_shards(tmp_path / "cache", "a")
    assert at - 6 <= again.pictures <= at
    write(crops[again.pictures :], tmp_path / "shards", again)
    assert contents(tmp_path / "shards") == contents(tmp_path / "whole")
    assert Shards.open(tmp_path / "shards").copies == 15


def test_it_may_be_interrupted_several_times(expected: dict[str, bytes], tmp_path: Path) -> None:
    reached = []
    for _ in range(4):
        partial = resume_partial_shards(tmp_path / "cache", "a")
        reached.append(partial.pictures)
        with pytest.raises(KeyboardInterrupt):
            write(interrupted_at(make_crops()[partial.pictures :], 7), tmp_path / "shards", partial)
    assert reached == sorted(set(reached))
    last = resume_partial_shards(tmp_path / "cache", "a")
    write(make_crops()[last.pictures :], tmp_path / "shards", last)
    assert contents(tmp_path / "shards") == expected


def interrupted(tmp_path: Path) -> Path:
    """A folder with three parts, 13 pictures done."""
    with pytest.raises(KeyboardInterrupt):
        write(interrupted_at(make_crops(), 15), tmp_path / "shards", resume_partial_shards(tmp_path / "cache", "a"))
    (folder,) = (tmp_path / "cache").iterdir()
    assert resume_partial_shards(tmp_path / "cache", "a").pictures > 6
    return folder


@pytest.mark.parametrize("fault", ["shard missing", "part missing", "part truncated", "part empty"])
def test_everything_after_a_gap_is_written_again(fault: str, expected: dict[str, bytes], tmp_path: Path) -> None:
    folder = interrupted(tmp_path)
    part = folder / "index_parts" / "00001.parquet"
    if fault == "shard missing":
        (folder / "shards" / "train-00001.tfrecord").unlink()
    elif fault == "part missing":
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[:300] if fault == "part truncated" else b"")
    again = resume_partial_shards(tmp_path / "cache", "a")
    assert sorted(p.name for p in folder.rglob("*.*")) == ["00000.parquet", "train-00000.tfrecord"]
    write(make_crops()[again.pictures :], tmp_path / "shards", again)
    assert contents(tmp_path / "shards") == expected


def test_incomplete_files_are_deleted(tmp_path: Path) -> None:
    folder = interrupted(tmp_path)
    for name in ("shards/valid-00000.tfrecord.part", "shards/test-00009.tfrecord", "index_parts/.00003.parquet.1.part"):
        (folder / name).write_bytes(b"half")
    resume_partial_shards(tmp_path / "cache", "a")
    assert not any(path.read_bytes() == b"half" for path in folder.rglob("*.*"))


def test_shards_of_other_inputs_are_not_used_and_deleted(tmp_path: Path) -> None:
    folder = interrupted(tmp_path)
    assert resume_partial_shards(tmp_path / "cache", "b").pictures == 0
    assert not folder.exists()
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("edited", ["media/face_detector.py", "preparation/shard_writer.py"])
def test_shards_of_other_code_are_not_used(edited: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = tmp_path / "src" / code_digest.PACKAGE
    shutil.copytree(code_digest.SOURCE_ROOT / code_digest.PACKAGE, sources)
    monkeypatch.setattr(code_digest, "SOURCE_ROOT", tmp_path / "src")
    interrupted(tmp_path)
    with (sources / edited).open("a", encoding="utf-8") as source:
        source.write("# edited\n")
    assert resume_partial_shards(tmp_path / "cache", "a").pictures == 0


def test_old_shards_stay_until_the_new_ones_are_complete(expected: dict[str, bytes], tmp_path: Path) -> None:
    write(make_crops()[:3], tmp_path / "shards")
    before = contents(tmp_path / "shards")
    (tmp_path / ".shards.part").mkdir()  # of a run that was killed while it replaced the folder
    with pytest.raises(KeyboardInterrupt):
        write(interrupted_at(make_crops(), 20), tmp_path / "shards")
    assert contents(tmp_path / "shards") == before
    write(make_crops(), tmp_path / "shards")
    assert contents(tmp_path / "shards") == expected
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


def test_no_pictures_give_an_empty_index(tmp_path: Path) -> None:
    assert len(write([], tmp_path / "shards")) == 0
    assert len(pd.read_parquet(tmp_path / "shards" / "index.parquet")) == 0
    assert Shards.open(tmp_path / "shards").crops == {}
