"""The files of INPUT and the rows in OUTPUT -> work units of files without a row; rows of files that are gone go.

Memory does not grow with the files: names come one at a time and go to Parquet files below OUTPUT, a row group a unit;
which files have rows already is a SQLite table on the disk of this machine.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from deepfake_detector.parallel import thread_map
from deepfake_detector.scanning.dataset import NAMES, PartCounts, part_names, read_part, write_part
from deepfake_detector.scanning.discovery import FoundFile, file_id
from deepfake_detector.scanning.storage import Storage

FILES_PER_UNIT = 128  # 1.6 s of a core for pictures: what a lost machine costs
UNITS_PER_FILE = 128
READERS = 16  # threads that read parts; most of their time is waiting for the store


@dataclass(frozen=True)
class ScanPlan:
    """What a run has to do.

    Attributes:
        units: number of work units.
        files: in them.
        kept: counts of the rows that stay.
        parts: their Parquet files.
    """

    units: int
    files: int
    kept: PartCounts
    parts: frozenset[str]


def plan_scan(files: Iterable[FoundFile], output: Storage, run: str) -> ScanPlan:
    """List the input once, write the names of files without a row, and drop rows that no longer hold.

    Rows of deleted and changed files are dropped, and those with an error that may be gone the next time.

    Args:
        files: all of the input.
        output: claimed by this run.
        run: names the units.
    """
    kept, changed = PartCounts(), set[int]()
    with (
        tempfile.TemporaryDirectory(prefix="deepfake-scan-") as folder,
        closing(_KnownFiles(Path(folder) / "known.db")) as known,
    ):
        parts = part_names(output)
        for number, part in enumerate(thread_map(lambda name: read_part(output, name), parts, READERS)):
            kept.add(part.counts)
            if known.add(number, part.kept_ids) < part.counts.files:
                changed.add(number)
        units, count = _write_units(known.missing(files), output, run)
        for number in sorted(changed | known.parts_with_absent_files()):
            _drop_rows(output, parts[number], known.present(number), kept)
    return ScanPlan(units, count, kept, frozenset(parts))


def read_unit(output: Storage, run: str, unit: int) -> list[FoundFile]:
    """The files of one work unit."""
    import pyarrow.parquet as pq

    number, group = divmod(unit, UNITS_PER_FILE)
    content = io.BytesIO(output.read(_names_file(run, number)))
    rows = pq.ParquetFile(content).read_row_group(group).to_pylist()
    return [FoundFile(**{**row, "name": os.fsdecode(row["name"])}) for row in rows]


def delete_units(output: Storage) -> None:
    """Delete the names of this run and of earlier ones."""
    for name in output.names(NAMES):
        output.delete(name)


class _KnownFiles:
    """Ids of files with rows, and of those which the listing has named."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA synchronous = OFF")  # a temporary file: a crash needs none of it
        self._database.execute("BEGIN")
        self._database.execute("CREATE TABLE known (id BLOB PRIMARY KEY, part INTEGER, present INTEGER) WITHOUT ROWID")

    def add(self, part: int, ids: Sequence[str]) -> int:
        """Note the ids of a part; returns how many are new."""
        rows = ((bytes.fromhex(each), part) for each in ids)
        return self._database.executemany("INSERT OR IGNORE INTO known VALUES (?, ?, 0)", rows).rowcount

    def missing(self, files: Iterable[FoundFile]) -> Iterator[FoundFile]:
        """The files without a row; the others are noted as present."""
        change = "UPDATE known SET present = 1 WHERE id = ?"
        for found in files:
            key = bytes.fromhex(file_id(found))
            if found.problem or self._database.execute(change, (key,)).rowcount == 0:
                yield found

    def parts_with_absent_files(self) -> set[int]:
        query = "SELECT DISTINCT part FROM known WHERE present = 0"
        return {part for (part,) in self._database.execute(query)}

    def present(self, part: int) -> Callable[[str], bool]:
        """Whether the row of a file, by its id, stays in a part."""
        query = "SELECT 1 FROM known WHERE id = ? AND part = ? AND present = 1"
        return lambda each: self._database.execute(query, (bytes.fromhex(each), part)).fetchone() is not None

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _drop_rows(output: Storage, name: str, stays: Callable[[str], bool], kept: PartCounts) -> None:
    """Write a part again without some rows, or delete it when none are left; `kept` changes with it."""
    before = read_part(output, name)
    after = before.only(stays)
    kept.subtract(before.counts)
    kept.add(after.counts)
    if after.counts.files:
        write_part(output, name, after)
    else:
        output.delete(name)


def _write_units(files: Iterator[FoundFile], output: Storage, run: str) -> tuple[int, int]:
    """Write the names of files; returns the numbers of units and files."""
    units = count = 0
    for number in itertools.count():
        content, found = _names_content(islice(files, UNITS_PER_FILE * FILES_PER_UNIT))
        if not found:
            return units, count
        output.write(_names_file(run, number), content)
        units += math.ceil(found / FILES_PER_UNIT)
        count += found
    raise AssertionError("unreachable")


def _names_content(files: Iterator[FoundFile]) -> tuple[bytes, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"name": "binary", "bytes": "int64", "mtime_ns": "int64", "problem": "string", "etag": "string"}
    schema = pa.schema(list(types.items()))
    content, count = io.BytesIO(), 0
    with pq.ParquetWriter(content, schema) as writer:
        while unit := list(islice(files, FILES_PER_UNIT)):
            rows = [{**asdict(found), "name": os.fsencode(found.name)} for found in unit]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            count += len(unit)
    return content.getvalue(), count


def _names_file(run: str, number: int) -> str:
    return f"{NAMES}/{run}-{number:06}.parquet"
