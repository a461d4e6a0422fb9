"""Shards of an interrupted run -> where the next run resumes; incomplete files are never read.

    folder/
      shards/        complete files; `train-00000.tfrecord.part` while one is being written
      index_parts/   00000.parquet ...: rows of the index, one part per complete file; a file without a part is ignored

Parts end where files end, which depends on the pictures alone: an interrupted run and its resumption write the same
bytes as one run.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from deepfake_detector.code_digest import PIXEL_LIBRARIES, code_digest, values_digest
from deepfake_detector.io import atomic_directory, atomic_write
from deepfake_detector.validation.manifest import read_complete_table

# Shards are resumed by equal code and libraries only. `shard_writer` imports everything else that shapes them.
RESUME_MODULES = ("deepfake_detector.preparation.shard_writer",)
RESUME_LIBRARIES = ("av", *PIXEL_LIBRARIES, "tensorflow")  # libav saves matched copies as H.264


class IndexRow(NamedTuple):
    """A row of the index: a picture, or a degraded copy of one."""

    path: str
    source: str
    group: str
    split: str
    label: int  # 1 = fake
    kind: str  # of fake; "" for a real picture
    copy: int  # 0 = the picture as it is, 1.. = its copies with matched degradation
    shard: str  # file name; "" without a crop
    offset: int  # of the record in that file, bytes; -1 without a crop
    code: str  # of the exclusion; "" with a crop
    reason: str


class PartialShards:
    """A folder of complete shards and the index rows of their pictures.

    Args:
        folder: created if it is missing. Incomplete files in it, and everything after the first gap, are deleted.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self.shards, self._parts = folder, folder / "shards", folder / "index_parts"
        for subfolder in (self.shards, self._parts):
            subfolder.mkdir(parents=True, exist_ok=True)
        self._tables = self._complete_tables()
        shards = {name for table in self._tables for name in _shard_names(table)}
        self._shard_counts = Counter(_split_of(name) for name in shards)
        parts = {self._part(i) for i in range(len(self._tables))}
        for file in (*self.shards.iterdir(), *self._parts.iterdir()):
            if file.name not in shards and file not in parts:
                file.unlink()

    @property
    def pictures(self) -> int:
        """Number of pictures, from the first, that are done."""
        return sum(int((table["copy"] == 0).sum()) for table in self._tables)

    @property
    def index(self) -> pd.DataFrame:
        """Rows of all parts."""
        return pd.concat(self._tables or [pd.DataFrame(columns=list(IndexRow._fields))], ignore_index=True)

    def shard_count(self, split: str) -> int:
        """Number of complete files of a split."""
        return self._shard_counts[split]

    def add(self, rows: Sequence[IndexRow], shard: Path | None) -> None:
        """Mark a file as complete, with the rows of all pictures since the one before it.

        Args:
            rows: may be empty only if there is no file.
            shard: the file under its temporary name `NAME.part`, closed; None if none of the pictures gave a crop.
        """
        if shard is not None:
            with shard.open("rb") as file:
                os.fsync(file.fileno())  # or a power cut could leave a part that names an empty file
            shard.replace(shard.with_suffix(""))
            self._shard_counts[_split_of(shard.name)] += 1
        if rows:
            table = pd.DataFrame(list(rows), columns=list(IndexRow._fields))
            with atomic_write(self._part(len(self._tables))) as temporary:
                table.to_parquet(temporary, index=False)
            self._tables.append(table)

    def publish(self, to: Path) -> None:
        """Replace the folder `to` by the shards, and delete the rest.

        On one file system a kill leaves the old folder, the new one, or none, but never a mixture.
        """
        for left in set(to.parent.glob(f".{to.name}.*")) - {self._folder}:
            shutil.rmtree(left)  # temporary folders of runs that were killed here
        with atomic_directory(to) as temporary:
            for file in self.shards.iterdir():
                shutil.move(file, temporary)  # copies if `to` is on another file system
        shutil.rmtree(self._folder, ignore_errors=True)

    def _complete_tables(self) -> list[pd.DataFrame]:
        tables: list[pd.DataFrame] = []
        for i in count():
            table = read_complete_table(self._part(i))
            if table is None or not all((self.shards / name).is_file() for name in _shard_names(table)):
                return tables
            tables.append(table)
        return tables

    def _part(self, number: int) -> Path:
        return self._parts / f"{number:05d}.parquet"


def resume_partial_shards(cache: Path, *inputs: object) -> PartialShards:
    """Shards of an interrupted run with the same code, libraries and inputs; otherwise none.

    Args:
        cache: a folder for this purpose alone; shards of other inputs in it are deleted.
        inputs: everything else that decides what the shards hold.
    """
    folder = cache / values_digest((code_digest(*RESUME_MODULES, libraries=RESUME_LIBRARIES), *inputs))
    for other in set(cache.iterdir() if cache.is_dir() else ()) - {folder}:
        shutil.rmtree(other)
    return PartialShards(folder)


def _split_of(shard: str) -> str:
    """Of a file name as `train-00000.tfrecord`."""
    return shard.rpartition("-")[0]


def _shard_names(table: pd.DataFrame) -> set[str]:
    return set(table["shard"]) - {""}
