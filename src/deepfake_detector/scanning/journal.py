"""Rows of a scan in the making <-> a small database beside its output, from which a killed scan goes on."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from deepfake_detector.errors import BadInput
from deepfake_detector.scanning.discovery import Found
from deepfake_detector.scanning.rows import Row

COMMIT_S = 1.0  # work that a kill may cost
TRANSIENT = ("bad_input:", "tool_failed:")  # a file that could not be read, or a failure of ours: worth another try
_TABLES = (
    "CREATE TABLE meta (content TEXT)",
    "CREATE TABLE files (name BLOB PRIMARY KEY, bytes INTEGER, mtime_ns INTEGER, run INTEGER, transient INTEGER, "
    "row TEXT) WITHOUT ROWID",
)


class Journal:
    """Rows on disk, so that memory does not grow with files.

    A row is used again only for a file of the same size and time of change, and if `about` is the same: the same
    folder, model and options.

    Args:
        path: of the database.
        about: under which circumstances its rows hold.

    Raises:
        BadInput: another scan is writing it, or its folder cannot be written.
    """

    def __init__(self, path: Path, about: Mapping[str, object]) -> None:
        self._path, self._about = path, json.dumps(about, sort_keys=True)
        self._database = self._open()
        self._committed_s = time.monotonic()
        (last,) = self._database.execute("SELECT max(run) FROM files").fetchone()
        self.resumed = last is not None
        self._run = (last or 0) + 1  # rows of files that are gone keep an older number, and are left out

    def knows(self, found: Found) -> bool:
        """Whether this very file has been judged; then its row counts for this run too."""
        at = (os.fsencode(found.name), found.bytes, found.mtime_ns)
        change = "UPDATE files SET run = ? WHERE name = ? AND bytes = ? AND mtime_ns = ? AND transient = 0"
        return self._database.execute(change, (self._run, *at)).rowcount == 1

    def keep(self, found: Found, row: Row | None) -> None:
        """Remember a row, or that the file is neither image nor video; on disk within `COMMIT_S`, if others follow."""
        transient = row is not None and (row.error or "").startswith(TRANSIENT)
        values = (found.bytes, found.mtime_ns, self._run, transient, None if row is None else json.dumps(row))
        self._database.execute(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", (os.fsencode(found.name), *values)
        )
        if time.monotonic() - self._committed_s > COMMIT_S:
            self.commit()

    def rows(self) -> Iterator[Row]:
        """All rows of this run, by path, read as they are needed."""
        wanted = "SELECT row FROM files WHERE run = ? AND row IS NOT NULL ORDER BY name"
        for (row,) in self._database.execute(wanted, (self._run,)):
            yield Row(*json.loads(row))

    def passed_over(self) -> int:
        """How many files of this run are neither image nor video."""
        wanted = "SELECT count(*) FROM files WHERE run = ? AND row IS NULL"
        return int(self._database.execute(wanted, (self._run,)).fetchone()[0])

    def commit(self) -> None:
        """Put what is known on disk."""
        self._database.execute("COMMIT")
        self._database.execute("BEGIN")
        self._committed_s = time.monotonic()

    def close(self) -> None:
        """Keep it for the next run."""
        if self._database.in_transaction:
            self._database.execute("COMMIT")
        self._database.close()

    def remove(self) -> None:
        """The output is whole: the journal has served."""
        self.close()
        self._path.unlink()

    def _open(self) -> sqlite3.Connection:
        try:
            database = self._locked()
            if not self._fits(database):
                database.close()
                self._path.unlink()
                database = self._locked()
                for table in _TABLES:
                    database.execute(table)
                database.execute("INSERT INTO meta VALUES (?)", (self._about,))
        except sqlite3.OperationalError as error:
            hint = "wait for the other scan to finish, or name another --out"
            raise BadInput(f"cannot write the journal {self._path}: {error}", hint) from error
        except sqlite3.DatabaseError as error:  # a power failure tore it, or it is something else
            hint = "remove it to begin anew, or name another --out"
            raise BadInput(f"{self._path} is no journal of a scan: {error}", hint) from error
        return database

    def _locked(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        database.execute("PRAGMA locking_mode = EXCLUSIVE")  # kept over every commit
        database.execute("BEGIN EXCLUSIVE")
        return database

    def _fits(self, database: sqlite3.Connection) -> bool:
        """Whether its rows hold now too; False for one that was just made."""
        if database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            return False
        return [(self._about,)] == database.execute("SELECT content FROM meta").fetchall()
