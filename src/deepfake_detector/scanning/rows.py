"""A verdict or an error about a file -> a flat row, and rows -> a CSV or Parquet file."""

from __future__ import annotations

import csv
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from deepfake_detector.errors import BadInput, DetectorError
from deepfake_detector.inference.decision import likely_kind
from deepfake_detector.inference.verdict import ImageVerdict, VideoVerdict
from deepfake_detector.io import atomic_write, check_output, write_failure
from deepfake_detector.media.file_type import HEAD_BYTES, file_type

TABLE_SUFFIXES = (".csv", ".parquet")
PARQUET_ROWS = 10_000  # per row group; this many are held in memory
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
COLUMN_TYPES = {"p_fake": "float64", "kind_share": "float64", "faces": "int64", "bytes": "int64"}


class ScanRow(NamedTuple):
    """The row of one file in the output and in the journal; None where a column does not apply."""

    path: str  # below the scanned folder
    kind: str | None = None  # image | video
    verdict: str | None = None  # fake | real | inconclusive
    p_fake: float | None = None  # 0..1
    kind_of_fake: str | None = None  # of a fake: synthetic | swap; None where it is unclear
    kind_share: float | None = None  # share of that kind, 0..1
    faces: int | None = None  # found; of a video, its tracks
    reason: str | None = None
    error: str | None = None  # "code: message"
    bytes: int | None = None
    sha256: str | None = None


TableWriter = Callable[[Path, Iterable[ScanRow], tuple[str, ...]], None]


def verdict_row(name: str, verdict: ImageVerdict | VideoVerdict) -> ScanRow:
    """The row of a file with a verdict."""
    kind, share = (likely_kind(verdict.kind_of_fake) if verdict.verdict == "fake" else None) or (None, None)
    return ScanRow(
        path=printable_name(name),
        kind=verdict.kind,
        verdict=verdict.verdict,
        p_fake=verdict.p_fake,
        kind_of_fake=kind,
        kind_share=share,
        faces=len(verdict.tracks if isinstance(verdict, VideoVerdict) else verdict.faces),
        reason="; ".join(verdict.reasons),
    )


def error_row(name: str, error: DetectorError) -> ScanRow:
    """The row of a file without a verdict."""
    return ScanRow(path=printable_name(name), error=f"{error.code}: {error.message}")


def printable_name(name: str) -> str:
    """A file's name as text; bytes that are not UTF-8 become \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def choose_writer(out: Path) -> TableWriter:
    """Choose the format by the file's suffix; called before any file is scored.

    Raises:
        BadInput: another suffix, no such folder, a file that is no table, or pyarrow is missing.
    """
    if not out.parent.is_dir():
        raise BadInput(f"there is no folder {out.parent}", "create it first, or name another --out")
    check_output(out, (), TABLE_SUFFIXES)
    if out.is_file():
        with out.open("rb") as stream:
            found = file_type(stream.read(HEAD_BYTES))
        if found is not None:
            raise BadInput(f"{out} is {found.name}, which the output would replace", "name another --out")
    return table_writer(out.name)


def table_writer(name: str) -> TableWriter:
    """The writer of the format that a file's suffix names.

    Raises:
        BadInput: another suffix, or pyarrow is missing.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise BadInput(f"{name} ends in {suffix!r}", f"name a file that ends in {' or '.join(TABLE_SUFFIXES)}")
    if suffix == ".csv":
        return _write_csv
    if importlib.util.find_spec("pyarrow") is None:
        raise BadInput("Parquet needs pyarrow, which is not installed", "`pip install pyarrow`, or write a .csv")
    return _write_parquet


def write_table(out: Path, rows: Iterable[ScanRow], writer: TableWriter, with_sha256: bool) -> None:
    """Write rows to a temporary file and rename it; an old output stays until the new one is complete.

    Raises:
        BadInput: the folder cannot be written.
        ToolFailed: the disk is full.
    """
    columns = ScanRow._fields if with_sha256 else ScanRow._fields[:-1]
    try:
        with atomic_write(out) as temporary:
            writer(temporary, rows, columns)
    except OSError as error:
        raise write_failure(out, error) from error


def _write_csv(path: Path, rows: Iterable[ScanRow], columns: tuple[str, ...]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        # Floats are written with all digits: a reader gets the same number.
        writer.writerows([_inert(value) for value in row[: len(columns)]] for row in rows)


def _inert(value: Any) -> Any:
    """The value, or a text that spreadsheets take for a formula behind an apostrophe, which they do not show.

    A file may be called `=cmd|...`, see OWASP, "CSV Injection". A carriage return would end a row, because `csv`
    does not quote it: it becomes a backslash and an r. Parquet files hold the name itself.
    """
    if not isinstance(value, str):
        return value
    text = value.replace("\r", "\\r")
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA_STARTS) else text


def _write_parquet(path: Path, rows: Iterable[ScanRow], columns: tuple[str, ...]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, COLUMN_TYPES.get(name, "string")) for name in columns])
    with pq.ParquetWriter(path, schema) as writer:
        for group in _row_groups(iter(rows)):
            values: list[Any] = list(zip(*group, strict=True))[: len(columns)]
            arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _row_groups(rows: Iterator[ScanRow]) -> Iterator[list[ScanRow]]:
    while group := list(islice(rows, PARQUET_ROWS)):
        yield group
