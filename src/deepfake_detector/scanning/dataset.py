"""Rows of a scan -> a folder of Parquet files, each written whole once; that folder -> which files have rows already.

    OUTPUT/_scan.json            under which conditions the rows hold, and which run writes
    OUTPUT/part-RUN-UNIT.parquet rows of one work unit; its metadata names the files that are neither image nor video
    OUTPUT/_names/...            work units of the run; deleted when it is complete

Names that begin with `_` are left out by Arrow, Spark, DuckDB and Ray when they read the folder as one table.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deepfake_detector.errors import BadInput, ToolFailed
from deepfake_detector.scanning.discovery import FoundFile, file_id
from deepfake_detector.scanning.journal import RETRIED_ERRORS
from deepfake_detector.scanning.rows import COLUMN_TYPES, ScanRow
from deepfake_detector.scanning.storage import LocalFolder, ObjectStore, Storage

STATE = "_scan.json"
NAMES = "_names"
METADATA_KEY = b"deepfake_scan"
ID_COLUMN = "file_id"


@dataclass
class PartCounts:
    """What parts hold.

    Attributes:
        verdicts: fake | real | inconclusive | error -> rows.
        errors: code -> rows.
        skipped: files that are neither image nor video.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    skipped: int = 0

    @property
    def files(self) -> int:
        """All files that were read."""
        return self.verdicts.total() + self.skipped

    def add(self, other: PartCounts) -> None:
        """Add the counts of another part."""
        self.verdicts += other.verdicts
        self.errors += other.errors
        self.skipped += other.skipped

    def subtract(self, other: PartCounts) -> None:
        """Take away the counts of a part that is no longer there."""
        self.verdicts -= other.verdicts
        self.errors -= other.errors
        self.skipped -= other.skipped

    def as_json(self) -> str:
        """One line, from which `from_json` makes the same counts."""
        return json.dumps([self.verdicts, self.errors, self.skipped])

    @classmethod
    def from_json(cls, text: str) -> PartCounts:
        """Counts that `as_json` wrote."""
        verdicts, errors, skipped = json.loads(text)
        return cls(Counter(verdicts), Counter(errors), skipped)


@dataclass(frozen=True)
class Part:
    """Content of one Parquet file.

    Attributes:
        table: a `pyarrow.Table` with the columns of `ScanRow` and `file_id`.
        skipped: ids of files that are neither image nor video.
    """

    table: Any
    skipped: tuple[str, ...]

    @property
    def counts(self) -> PartCounts:
        """Verdicts and errors."""
        verdicts = Counter(verdict or "error" for verdict in self.table["verdict"].to_pylist())
        messages = self.table["error"].to_pylist()
        errors = Counter(message.partition(":")[0] for message in messages if message is not None)
        return PartCounts(verdicts, errors, len(self.skipped))

    @property
    def kept_ids(self) -> list[str]:
        """Ids of files that need not be read again: not of those whose error may be gone the next time."""
        pairs = zip(self.table[ID_COLUMN].to_pylist(), self.table["error"].to_pylist(), strict=True)
        ids = [each for each, error in pairs if not (error or "").startswith(RETRIED_ERRORS)]
        return [*ids, *self.skipped]

    def only(self, stays: Callable[[str], bool]) -> Part:
        """The part with some of its files, by their ids."""
        rows = [stays(each) for each in self.table[ID_COLUMN].to_pylist()]
        return Part(self.table.filter(rows), tuple(filter(stays, self.skipped)))


def part_name(run: str, unit: int) -> str:
    """The same whenever a unit is scored again, so that a second copy replaces the first."""
    return f"part-{run}-{unit:08}.parquet"


def part_names(output: Storage) -> list[str]:
    """Names of all parts, sorted."""
    return [name for name in output.names() if name.startswith("part-") and name.endswith(".parquet")]


def rows_part(scored: Iterable[tuple[FoundFile, ScanRow | None]], with_sha256: bool) -> Part:
    """The part of one work unit, ordered by path."""
    import pyarrow as pa

    rows: list[tuple[Any, ...]] = []
    skipped = []
    columns = ScanRow._fields if with_sha256 else ScanRow._fields[:-1]
    for found, row in scored:
        if row is None:
            skipped.append(file_id(found))
        else:
            rows.append((*row[: len(columns)], file_id(found)))
    rows.sort(key=lambda row: str(row[0]))
    values: Sequence[Any] = list(zip(*rows, strict=True)) or [()] * (len(columns) + 1)
    schema = pa.schema([(name, COLUMN_TYPES.get(name, "string")) for name in (*columns, ID_COLUMN)])
    arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
    return Part(pa.Table.from_arrays(arrays, schema=schema), tuple(sorted(skipped)))


def write_part(output: Storage, name: str, part: Part) -> None:
    """Write a part, which appears whole or not at all."""
    import pyarrow.parquet as pq

    content = io.BytesIO()
    pq.write_table(part.table.replace_schema_metadata({METADATA_KEY: json.dumps(part.skipped)}), content)
    output.write(name, content.getvalue())


def read_part(output: Storage, name: str) -> Part:
    """Read a part.

    Raises:
        ToolFailed: it is no part of a scan.
        OSError: it cannot be read, or is not there.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(output.read(name)))
        return Part(table, tuple(json.loads(table.schema.metadata[METADATA_KEY])))
    except (pa.ArrowInvalid, KeyError, TypeError) as error:
        hint = "delete it, and the same command scores its files again"
        raise ToolFailed(f"{output.address}/{name} is no part of a scan: {error}", hint) from error


def claim_output(output: LocalFolder | ObjectStore, run: str, conditions: Mapping[str, object]) -> None:
    """Make this run the one that writes the folder; a run that still writes ends at its next part.

    Raises:
        BadInput: the folder holds other files, or rows under other conditions, or cannot be written.
    """
    if isinstance(output, ObjectStore):
        output.require_bucket()
    elif output.path.exists() and not output.path.is_dir():
        raise BadInput(f"{output.path} is a file", "name a folder: Ray writes one Parquet file for each work unit")
    names = output.names()
    if STATE in names:
        earlier = json.loads(output.read(STATE))["conditions"]
        changed = sorted(key for key, value in conditions.items() if earlier.get(key) != value)
        if changed:
            key = changed[0]
            raise BadInput(
                f"{output.address} holds rows of another scan: {key} was {earlier.get(key)}, now {conditions[key]}",
                "name another --out, or delete the folder",
            )
    elif names:
        raise BadInput(f"{output.address} holds {names[0]}, which is no output of a scan", "name another --out")
    _write_state(output, run, conditions, complete=False)


def require_claim(output: Storage, run: str) -> None:
    """Fail if another run has claimed the output, or if it is not the folder that the command saw.

    Raises:
        ToolFailed: with the reason.
    """
    try:
        current = json.loads(output.read(STATE))["run"]
    except OSError as error:
        hint = "INPUT and OUTPUT must be the same on all machines of the cluster: a shared folder, or s3://"
        raise ToolFailed(f"{output.address} is not there on this machine: {error}", hint) from error
    if current != run:
        raise ToolFailed(f"another scan writes {output.address} now", "let it finish; it does the whole work")


def complete_output(output: Storage, run: str, conditions: Mapping[str, object]) -> None:
    """Say in the folder that every file has its row."""
    require_claim(output, run)
    _write_state(output, run, conditions, complete=True)


def _write_state(output: Storage, run: str, conditions: Mapping[str, object], complete: bool) -> None:
    state = {"run": run, "conditions": dict(conditions), "complete": complete}
    output.write(STATE, (json.dumps(state, indent=2, sort_keys=True) + "\n").encode())
