"""An answer or an error -> the flat row of a scan."""

from __future__ import annotations

import csv
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from deepfake_detector.errors import BadInput, DetectorError
from deepfake_detector.inference.decision import leading
from deepfake_detector.inference.verdict import ImageVerdict, VideoVerdict
from deepfake_detector.io import atomic_write


class Row(NamedTuple):
    """What a scan says of one file; what does not apply is None."""

    path: str  # from the folder that was scanned
    kind: str | None = None  # image | video
    verdict: str | None = None  # fake | real | inconclusive
    p_fake: float | None = None  # 0..1
    kind_of_fake: str | None = None  # of a fake: synthetic | swap; None where it is unclear
    kind_share: float | None = None  # how much speaks for that kind, 0..1
    faces: int | None = None  # found; of a video, tracks
    reason: str | None = None
    error: str | None = None  # "code: message"
    bytes: int | None = None
    sha256: str | None = None


def answered(name: str, answer: ImageVerdict | VideoVerdict) -> Row:
    """The row of an answer."""
    kind, share = (leading(answer.kind_of_fake) if answer.verdict == "fake" else None) or (None, None)
    return Row(
        path=shown(name),
        kind=answer.kind,
        verdict=answer.verdict,
        p_fake=answer.p_fake,
        kind_of_fake=kind,
        kind_share=share,
        faces=len(answer.tracks if isinstance(answer, VideoVerdict) else answer.faces),
        reason="; ".join(answer.reasons),
    )


def failed(name: str, error: DetectorError) -> Row:
    """The row of an error."""
    return Row(path=shown(name), error=f"{error.code}: {error.message}")


def shown(name: str) -> str:
    """A file's name as text: bytes that are no UTF-8 are written as \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


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
    try:
        with atomic_write(out) as temporary:
            writer(temporary, rows, columns)
    except OSError as error:
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
