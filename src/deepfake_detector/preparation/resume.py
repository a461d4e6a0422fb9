"""Shards in the making <-> where a killed run goes on; what is not whole is never read.

    folder/
      shards/    finished files; `train-00000.tfrecord.part` while one is being written
      pieces/    00000.parquet ...: rows of the index, a piece per finished file; a file without one does not count

Pieces end where files end, which depends on the pictures alone: a run that was interrupted leaves the same bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pandas as pd

from deepfake_detector.code_digest import code_digest, values_digest
from deepfake_detector.io import atomic_directory, atomic_write
from deepfake_detector.validation.manifest import read_piece

INDEX_COLUMNS = ("path", "source", "split", "label", "shard", "why", "reason")
IndexRow = tuple[str, str, str, int, str, str, str]


class Unfinished:
    """A folder of finished shards and the rows that led to them.

    Args:
        folder: made if need be. What is not whole in it, and after the first piece that is not, is removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self.shards, self._pieces = folder, folder / "shards", folder / "pieces"
        for part in (self.shards, self._pieces):
            part.mkdir(parents=True, exist_ok=True)
        self._tables = self._whole()
        named = {name for table in self._tables for name in _names(table)}
        kept = {self._piece(i) for i in range(len(self._tables))}
        for file in (*self.shards.iterdir(), *self._pieces.iterdir()):
            if file.name not in named and file not in kept:
                file.unlink()

    @property
    def done(self) -> int:
        """Pictures, from the first, that need not be looked at again."""
        return sum(map(len, self._tables))

    @property
    def index(self) -> pd.DataFrame:
        """Rows of all pieces."""
        return pd.concat(self._tables or [pd.DataFrame(columns=list(INDEX_COLUMNS))], ignore_index=True)

    def shards_of(self, split: str) -> int:
        """Finished files of a split."""
        return len({name for table in self._tables for name in _names(table) if name.startswith(f"{split}-")})

    def keep(self, rows: Sequence[IndexRow], written: Path | None) -> None:
        """Count a file as finished, with the rows of all pictures since the one before it.

        Args:
            rows: may be empty only if there is no file.
            written: the file under its temporary name `NAME.part`, closed; None if the rows led to none.
        """
        if written is not None:
            with written.open("rb") as file:
                os.fsync(file.fileno())  # or a power cut could leave a piece that names an empty file
            written.replace(written.with_suffix(""))
        if rows:
            table = pd.DataFrame(list(rows), columns=list(INDEX_COLUMNS))
            with atomic_write(self._piece(len(self._tables))) as fresh:
                table.to_parquet(fresh, index=False)
            self._tables.append(table)

    def move(self, to: Path) -> None:
        """Put the shards in place of what is at `to`, and remove the rest.

        On one disk a kill leaves the old folder, the new one, or none, but never a mixture.
        """
        with atomic_directory(to) as fresh:
            for file in self.shards.iterdir():
                shutil.move(file, fresh)  # copies if `to` is on another disk
        shutil.rmtree(self._folder, ignore_errors=True)

    def _whole(self) -> list[pd.DataFrame]:
        tables: list[pd.DataFrame] = []
        for i in count():
            table = read_piece(self._piece(i))
            if table is None or not all((self.shards / name).is_file() for name in _names(table)):
                return tables
            tables.append(table)
        return tables

    def _piece(self, number: int) -> Path:
        return self._pieces / f"{number:05d}.parquet"


def resume(cache: Path, *made_from: object) -> Unfinished:
    """What a killed run left behind that made the same: by the same code, libraries and `made_from`.

    Args:
        cache: a folder of its own; work on other pictures or with other settings in it is removed.
        made_from: all that decides what the shards hold.
    """
    folder = cache / values_digest(
        (code_digest(*(f"{__package__}.{name}" for name in ("crops", "selection", "shards"))), *made_from)
    )
    for other in set(cache.iterdir() if cache.is_dir() else ()) - {folder}:
        shutil.rmtree(other)
    return Unfinished(folder)


def _names(table: pd.DataFrame) -> set[str]:
    return set(table["shard"]) - {""}
