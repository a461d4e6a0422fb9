"""A killed writer goes on where it was, and leaves the same bytes; what is not whole is never read."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.datasets.archive import Entry
from deepfake_detector.preparation.crops import Crop
from deepfake_detector.preparation.resume import Unfinished, resume
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import Shards

SIDE = 8
KINDS = {"s": "swap"}


def made() -> list[Crop]:
    """21 pictures, of which every fourth and the last two give no crop."""
    rng = np.random.default_rng(0)
    crops = []
    for split, n in (("train", 13), ("valid", 2), ("test", 6)):
        for i in range(n):
            pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            left_out = i % 4 == 0 or (split, i) == ("test", 5)
            entry = Entry(f"{split}/{i}.jpg", split, i % 2, "", "s")
            places = rng.uniform(0, SIDE, (5, 2)).astype(np.float32)
            crops.append(Crop(entry, None, "no face", "faceless") if left_out else Crop(entry, pixels, "", "", places))
    return crops


def write(crops: Sequence[Crop] | Iterator[Crop], to: Path, unfinished: Unfinished | None = None) -> pd.DataFrame:
    return write_shards(crops, to, SIDE, 4 * SIDE * SIDE * 3, KINDS, unfinished)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    index = write(made(), folder / "shards")
    assert list(index["path"]) == [crop.entry.path for crop in made()]
    assert [path.name for path in folder.iterdir()] == ["shards"]
    return contents(folder / "shards")


def dying(crops: Sequence[Crop], at: int) -> Iterator[Crop]:
    yield from crops[:at]
    raise KeyboardInterrupt


def test_a_file_ends_where_it_is_full_or_its_split_ends(whole: dict[str, bytes]) -> None:
    assert [name for name in whole if name.endswith(".tfrecord")] == [
        "test-00000.tfrecord", "train-00000.tfrecord", "train-00001.tfrecord", "train-00002.tfrecord",
        "valid-00000.tfrecord",
    ]  # fmt: skip


@pytest.mark.parametrize("at", range(22))
def test_wherever_it_dies_the_bytes_are_the_same(at: int, whole: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(dying(made(), at), tmp_path / "shards", resume(tmp_path / "cache", "a"))
    assert not (tmp_path / "shards").exists()
    again = resume(tmp_path / "cache", "a")
    assert at - 6 <= again.done <= at  # at most one file and what was left out around it is lost
    write(made()[again.done :], tmp_path / "shards", again)
    assert contents(tmp_path / "shards") == whole
    assert Shards.open(tmp_path / "shards").crops == {"train": 9, "valid": 1, "test": 3}
    assert list((tmp_path / "cache").iterdir()) == []


def test_it_may_die_again_and_again(whole: dict[str, bytes], tmp_path: Path) -> None:
    reached = []
    for _ in range(4):
        unfinished = resume(tmp_path / "cache", "a")
        reached.append(unfinished.done)
        with pytest.raises(KeyboardInterrupt):
            write(dying(made()[unfinished.done :], 7), tmp_path / "shards", unfinished)
    assert reached == sorted(set(reached))
    last = resume(tmp_path / "cache", "a")
    write(made()[last.done :], tmp_path / "shards", last)
    assert contents(tmp_path / "shards") == whole


def interrupted(tmp_path: Path) -> Path:
    """A folder with three pieces, 13 pictures done."""
    with pytest.raises(KeyboardInterrupt):
        write(dying(made(), 15), tmp_path / "shards", resume(tmp_path / "cache", "a"))
    (folder,) = (tmp_path / "cache").iterdir()
    assert resume(tmp_path / "cache", "a").done > 6
    return folder


@pytest.mark.parametrize("fault", ["a file is gone", "a piece is gone", "a piece is cut", "a piece is empty"])
def test_what_follows_a_gap_is_made_anew(fault: str, whole: dict[str, bytes], tmp_path: Path) -> None:
    folder = interrupted(tmp_path)
    piece = folder / "pieces" / "00001.parquet"
    if fault == "a file is gone":
        (folder / "shards" / "train-00001.tfrecord").unlink()
    elif fault == "a piece is gone":
        piece.unlink()
    else:
        piece.write_bytes(piece.read_bytes()[:300] if "cut" in fault else b"")
    again = resume(tmp_path / "cache", "a")
    assert sorted(p.name for p in folder.rglob("*.*")) == ["00000.parquet", "train-00000.tfrecord"]
    write(made()[again.done :], tmp_path / "shards", again)
    assert contents(tmp_path / "shards") == whole


def test_half_written_files_are_removed(tmp_path: Path) -> None:
    folder = interrupted(tmp_path)
    for name in ("shards/valid-00000.tfrecord.part", "shards/test-00009.tfrecord", "pieces/.00003.parquet.1.part"):
        (folder / name).write_bytes(b"half")
    resume(tmp_path / "cache", "a")
    assert not any(path.read_bytes() == b"half" for path in folder.rglob("*.*"))


def test_work_on_something_else_is_not_used_and_goes(tmp_path: Path) -> None:
    folder = interrupted(tmp_path)
    assert resume(tmp_path / "cache", "b").done == 0
    assert not folder.exists()
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_old_shards_stay_until_the_new_ones_are_whole(whole: dict[str, bytes], tmp_path: Path) -> None:
    write(made()[:3], tmp_path / "shards")
    before = contents(tmp_path / "shards")
    (tmp_path / ".shards.part").mkdir()  # a kill between two renames
    with pytest.raises(KeyboardInterrupt):
        write(dying(made(), 20), tmp_path / "shards")
    assert contents(tmp_path / "shards") == before
    write(made(), tmp_path / "shards")
    assert contents(tmp_path / "shards") == whole
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


def test_nothing_at_all_is_an_empty_index(tmp_path: Path) -> None:
    assert len(write([], tmp_path / "shards")) == 0
    assert len(pd.read_parquet(tmp_path / "shards" / "index.parquet")) == 0
    assert Shards.open(tmp_path / "shards").crops == {}
