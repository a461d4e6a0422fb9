"""Rows -> a CSV or Parquet file that appears only when it is whole."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from deepfake_detector.errors import BadInput
from deepfake_detector.scanning.row import Row

Writer = Callable[[Path, Iterable[Row], tuple[str, ...]], None]
ROWS_AT_ONCE = 10_000  # of a Parquet file; what is held in memory
_TYPES = {"p_fake": "float64", "kind_share": "float64", "faces": "int64", "bytes": "int64"}


def writer_for(out: Path) -> Writer:
    """Choose by the file's ending, before any work is done.

    Raises:
        BadInput: another ending, no such folder, or pyarrow is missing.
    """
    if not out.parent.is_dir():
        raise BadInput(f"there is no folder {out.parent}", "make it first, or name another --out")
    if out.is_dir():
        raise BadInput(f"{out} is a folder", "name a file that ends in .csv or .parquet")
    if out.suffix.lower() == ".csv":
        return _write_csv
    if out.suffix.lower() != ".parquet":
        raise BadInput(f"--out {out.name} ends in {out.suffix!r}", "name a file that ends in .csv or .parquet")
    if importlib.util.find_spec("pyarrow") is None:
        raise BadInput("Parquet needs pyarrow, which is not installed", "`pip install pyarrow`, or write a .csv")
    return _write_parquet


def write_table(out: Path, rows: Iterable[Row], writer: Writer, with_sha256: bool) -> None:
    """Write rows under a temporary name and rename; the old file stays until the new one is whole.

    Raises:
        BadInput: the disk is full or the folder cannot be written.
    """
    columns = Row._fields if with_sha256 else Row._fields[:-1]
    fresh = out.with_name(f".{out.name}.part")
    try:
        writer(fresh, rows, columns)
        fresh.replace(out)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise BadInput(f"cannot write {out}: {error.strerror or error}", "make room, and run the same again") from error


def _write_csv(path: Path, rows: Iterable[Row], columns: tuple[str, ...]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(row[: len(columns)] for row in rows)  # floats in full: reading them gives the same number


def _write_parquet(path: Path, rows: Iterable[Row], columns: tuple[str, ...]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _TYPES.get(name, "string")) for name in columns])
    with pq.ParquetWriter(path, schema) as writer:
        for part in _parts(iter(rows)):
            values: list[Any] = list(zip(*part, strict=True))[: len(columns)]
            arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _parts(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while part := list(islice(rows, ROWS_AT_ONCE)):
        yield part
