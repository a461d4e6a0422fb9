"""Rows of a running scan <-> a SQLite file beside its output, from which an interrupted scan continues."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from deepfake_detector.errors import BadInput
from deepfake_detector.io import machine_failure
from deepfake_detector.scanning.discovery import FoundFile
from deepfake_detector.scanning.rows import ScanRow

COMMIT_S = 1.0  # how much work a kill may cost
RETRIED_ERRORS = ("bad_input:", "tool_failed:")  # a file that could not be read, or a failure of the tool
# Journals of version 0.1 have the same tables. SQLite keeps a time as the number that it is, and an ETag as text.
_TABLES = (
    "CREATE TABLE meta (content TEXT)",
    "CREATE TABLE files (name BLOB PRIMARY KEY, bytes INTEGER, mtime_ns INTEGER, run INTEGER, transient INTEGER, "
    "row TEXT) WITHOUT ROWID",
)


class ScanJournal:
    """Rows on disk, so that memory does not grow with files.

    A row is reused only for a file with the same size and time of change, and only under the same `conditions`. Under
    other conditions the journal starts empty.

    Args:
        path: of the SQLite file.
        conditions: under which its rows hold: folder, model and options, as JSON values.

    Raises:
        BadInput: another scan uses the file, it is no journal, or its folder cannot be written.
    """

    def __init__(self, path: Path, conditions: Mapping[str, object]) -> None:
        self._path, self._conditions = path, json.dumps(conditions, sort_keys=True)
        self._database = self._open()
        self._committed_s = time.monotonic()
        (last,) = self._database.execute("SELECT max(run) FROM files").fetchone()
        self.resumed = last is not None
        self._run = (last or 0) + 1  # rows of deleted files keep an older number and are left out

    def reuse(self, found: FoundFile) -> bool:
        """Take the row of an unchanged file into this run; False if there is none and the file must be scored."""
        key = (os.fsencode(found.name), found.bytes, found.version)
        change = "UPDATE files SET run = ? WHERE name = ? AND bytes = ? AND mtime_ns = ? AND transient = 0"
        return self._database.execute(change, (self._run, *key)).rowcount == 1

    def record(self, found: FoundFile, row: ScanRow | None) -> None:
        """Store a row, or None for a file that is no media file; it is on disk after at most `COMMIT_S` of work."""
        retried = row is not None and (row.error or "").startswith(RETRIED_ERRORS)
        values = (found.bytes, found.version, self._run, retried, None if row is None else json.dumps(row))
        self._database.execute(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", (os.fsencode(found.name), *values)
        )
        if time.monotonic() - self._committed_s > COMMIT_S:
            self.commit()

    def rows(self) -> Iterator[ScanRow]:
        """All rows of this run, ordered by path and read one at a time."""
        query = "SELECT row FROM files WHERE run = ? AND row IS NOT NULL ORDER BY name"
        for (row,) in self._database.execute(query, (self._run,)):
            yield ScanRow(*json.loads(row))

    def skipped(self) -> int:
        """Number of files of this run that are no media files."""
        query = "SELECT count(*) FROM files WHERE run = ? AND row IS NULL"
        return int(self._database.execute(query, (self._run,)).fetchone()[0])

    def commit(self) -> None:
        """Write all recorded rows to disk."""
        self._database.execute("COMMIT")
        self._database.execute("BEGIN")
        self._committed_s = time.monotonic()

    def close(self) -> None:
        """Write all recorded rows and release the file for the next run."""
        try:
            if self._database.in_transaction:
                self._database.execute("COMMIT")
        finally:
            self._database.close()

    def delete(self) -> None:
        """Close and delete the file, once the output is complete."""
        self.close()
        self._path.unlink()

    def _open(self) -> sqlite3.Connection:
        try:
            database = self._connect()
            if not self._is_reusable(database):
                database.close()
                self._path.unlink()
                database = self._connect()
                for table in _TABLES:
                    database.execute(table)
                database.execute("INSERT INTO meta VALUES (?)", (self._conditions,))
        except sqlite3.OperationalError as error:
            if (known := machine_failure(error)) is not None:
                raise known from error
            hint = "wait for the other scan to finish, or name another --out"
            raise BadInput(f"cannot write the journal {self._path}: {error}", hint) from error
        except sqlite3.DatabaseError as error:  # damaged by a power failure, or another kind of file
            hint = "delete it to start again, or name another --out"
            raise BadInput(f"{self._path} is no journal of a scan: {error}", hint) from error
        return database

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")  # held over every commit
            database.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _is_reusable(self, database: sqlite3.Connection) -> bool:
        """Whether its rows hold under the conditions; False for a new file."""
        if database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            return False
        return [(self._conditions,)] == database.execute("SELECT content FROM meta").fetchall()
