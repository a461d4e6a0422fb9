"""Prediction logs of many replicas, JSON lines or Parquet -> one table of answers; broken lines are counted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from deepfake_detector.errors import BadInput
from deepfake_detector.model.bundle_profile import BOUNDS, Verdict

MAX_BROKEN_SHARE = 0.01  # of all lines; beyond it the log is of another program, or damaged
TOLERATED_PER_FILE = 1  # a line that is being written, or was cut short when a service ended
MAX_NAMED = 20  # broken lines that are named
LOG_SUFFIXES = {".jsonl", ".ndjson", ".log", ".parquet"}  # of files in folders, rotated ones too: p.jsonl.1
MAX_LINE_BYTES = 2**16  # a line has about 500 bytes
PARQUET_MAGIC = b"PAR1"
_BATCH_ROWS = 4096
_QUALITY = ("brightness", "contrast", "sharpness")


class _Quality(BaseModel):
    brightness: Annotated[float, Field(ge=BOUNDS["brightness"][0], le=BOUNDS["brightness"][1])]
    contrast: Annotated[float, Field(ge=BOUNDS["contrast"][0], le=BOUNDS["contrast"][1])]
    sharpness: Annotated[float, Field(ge=BOUNDS["sharpness"][0], le=BOUNDS["sharpness"][1])]


class LoggedAnswer(BaseModel):
    """One line of a prediction log, as far as drift is measured; other fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())

    time: Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC))]
    request_id: Annotated[str, Field(max_length=200)]
    model_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    kind: Literal["image", "video"]
    verdict: Verdict
    p_fake: Annotated[float, Field(ge=0, le=1)] | None
    faces: Annotated[int, Field(ge=0, le=10**6)]
    largest_face_px: Annotated[float, Field(ge=0, le=BOUNDS["largest_face_px"][1])]
    quality: _Quality | None
    file_bytes: Annotated[int, Field(ge=0)] = 0
    processing_s: Annotated[float, Field(ge=0)] = 0.0

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for copies of one line, whatever format they were stored in."""
        return (self.time.timestamp(), self.request_id, self.file_bytes, self.processing_s, self.p_fake)

    def row(self) -> tuple[object, ...]:
        """Its values of `COLUMNS`; NaN where a picture has no face, no crop or no score."""
        day = self.time.astimezone(UTC).date().isoformat()
        quality = (math.nan,) * 3 if self.quality is None else tuple(getattr(self.quality, name) for name in _QUALITY)
        face_px = self.largest_face_px if self.faces else math.nan
        p_fake = math.nan if self.p_fake is None else self.p_fake
        return (day, self.model_sha256, self.kind, self.verdict, p_fake, self.faces, face_px, *quality)


COLUMNS = ("day", "model_sha256", "kind", "verdict", "p_fake", "faces", "largest_face_px", *_QUALITY)


@dataclass(frozen=True, eq=False)
class LoggedAnswers:
    """Answers of one or several prediction logs.

    Attributes:
        table: a row per answer with `COLUMNS`; `day` is YYYY-MM-DD in UTC.
        files: names of the files.
        lines: read lines, broken ones and copies too.
        broken: lines that are no answers.
        broken_named: the first of them: file, line and reason.
        copies: lines that another file, or the same, has as well; they count once.
    """

    table: pd.DataFrame
    files: tuple[str, ...]
    lines: int
    broken: int
    broken_named: tuple[str, ...]
    copies: int

    def summary(self) -> dict[str, Any]:
        """Its part of the JSON report."""
        return {
            "files": list(self.files), "lines": self.lines, "answers": len(self.table), "copies": self.copies,
            "broken": self.broken, "broken_named": list(self.broken_named), "max_broken_share": MAX_BROKEN_SHARE,
        }  # fmt: skip


@dataclass
class _Reading:
    rows: list[tuple[object, ...]] = field(default_factory=list)
    seen: set[tuple[object, ...]] = field(default_factory=set)
    lines: int = 0
    copies: int = 0
    broken: list[str] = field(default_factory=list)
    broken_lines: int = 0
    excess: int = 0  # broken lines beyond those that are tolerated per file

    def add(self, answer: LoggedAnswer) -> None:
        self.lines += 1
        if answer.identity in self.seen:
            self.copies += 1
        else:
            self.seen.add(answer.identity)
            self.rows.append(answer.row())

    def add_broken(self, path: Path, number: int, reason: str, in_file: int) -> None:
        self.lines += 1
        self.broken_lines += 1
        self.excess += in_file > TOLERATED_PER_FILE
        if len(self.broken) < MAX_NAMED:
            self.broken.append(f"{path}:{number}: {reason}")


def read_answers(paths: Sequence[Path]) -> LoggedAnswers:
    """Read prediction logs.

    Args:
        paths: files, and folders whose files with one of LOG_SUFFIXES are read: JSON lines (`predictions.jsonl`,
            `predictions.jsonl.1`, ...) or Parquet with the same fields. The content decides.

    Raises:
        BadInput: a path does not exist; there is no answer; more than MAX_BROKEN_SHARE of the lines are broken.
    """
    files = list(_files(paths))
    reading = _Reading()
    for path in files:
        in_file = 0
        for number, result in _results(path):
            if isinstance(result, LoggedAnswer):
                reading.add(result)
            else:
                in_file += 1
                reading.add_broken(path, number, result, in_file)
    if reading.excess > MAX_BROKEN_SHARE * reading.lines:
        raise BadInput(
            f"{reading.broken_lines} of {reading.lines} lines are no answers, more than {MAX_BROKEN_SHARE:.0%}: "
            + "; ".join(reading.broken[:3]),
            "name files that DEEPFAKE_SERVE_PREDICTION_LOG wrote, or Parquet files with the same fields",
        )
    if not reading.rows:
        raise BadInput(f"no answer in {', '.join(map(str, paths))}", "name files of DEEPFAKE_SERVE_PREDICTION_LOG")
    table = pd.DataFrame.from_records(reading.rows, columns=list(COLUMNS))
    names = tuple(map(str, files))
    return LoggedAnswers(
        table, names, reading.lines, reading.broken_lines, tuple(reading.broken), reading.copies
    )  # fmt: skip


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            found = (each for each in path.rglob("*") if LOG_SUFFIXES & set(each.suffixes) and each.is_file())
            yield from sorted(found)
        elif path.is_file():
            yield path
        else:
            raise BadInput(f"there is no file {path}", "name prediction logs, or a folder of them")


def _results(path: Path) -> Iterator[tuple[int, LoggedAnswer | str]]:
    """Number of each line or row, from 1, and the answer in it or why there is none."""
    with path.open("rb") as stream:
        is_parquet = stream.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
    yield from _parquet_rows(path) if is_parquet else _json_lines(path)


def _json_lines(path: Path) -> Iterator[tuple[int, LoggedAnswer | str]]:
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_LINE_BYTES):
            number += 1
            if not line.endswith(b"\n") and len(line) == MAX_LINE_BYTES:
                while (rest := stream.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                    pass
                yield number, f"longer than {MAX_LINE_BYTES:,} bytes"
            elif line.strip():
                try:
                    yield number, LoggedAnswer.model_validate_json(line)
                except ValidationError as error:
                    yield number, _reason(error)


def _parquet_rows(path: Path) -> Iterator[tuple[int, LoggedAnswer | str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(_BATCH_ROWS):
            for row in batch.to_pylist():
                number += 1
                try:
                    yield number, LoggedAnswer.model_validate(_with_quality(row))
                except ValidationError as error:
                    yield number, _reason(error)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path} is no complete Parquet file: {error}", "write it again") from error


def _with_quality(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with None where pandas has NaN, and with the object `quality` that a flat table splits into columns."""
    values = {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
    if values.get("quality") is None and f"quality.{_QUALITY[0]}" in values:
        quality = {name: values.get(f"quality.{name}") for name in _QUALITY}
        values["quality"] = quality if any(value is not None for value in quality.values()) else None
    stored = values.get("quality")
    if isinstance(stored, dict) and all(value is None for value in stored.values()):
        values["quality"] = None
    return values


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else str(first["msg"])
