"""Where a table shall be, a file or an address like s3:// -> the table written there, and the place of its journal."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deepfake_detector.errors import BadInput
from deepfake_detector.io import write_failure
from deepfake_detector.scanning.rows import ScanRow, TableWriter, choose_writer, table_writer, write_table
from deepfake_detector.scanning.storage import ObjectStore, open_storage


@dataclass(frozen=True)
class TableOutput:
    """The output of a scan on one machine.

    Attributes:
        journal: a file of this machine: beside the table, or in the user's cache if the table is an object.
        writer: of the table's format.
        path: of the table, or
        store, name: of the object.
    """

    journal: Path
    writer: TableWriter
    path: Path | None = None
    store: ObjectStore | None = None
    name: str = ""

    def write(self, rows: Iterable[ScanRow], with_sha256: bool) -> None:
        """Write all rows; an old table stays until the new one is complete.

        Raises:
            BadInput, ToolFailed: see `write_table` and `ObjectStore.upload`.
        """
        if self.store is None:
            assert self.path is not None
            write_table(self.path, rows, self.writer, with_sha256)
            return
        with tempfile.TemporaryDirectory(prefix="deepfake-scan-") as folder:
            copy = Path(folder) / self.name
            write_table(copy, rows, self.writer, with_sha256)
            self.store.upload(copy, self.name)


def table_output(out: str | Path) -> TableOutput:
    """Check where a table shall be, before any file is scored.

    Args:
        out: a file or an address; its suffix names the format.

    Raises:
        BadInput: see `choose_writer`; an address of another scheme, or without a bucket; or there is no such bucket.
    """
    if "://" not in str(out):
        path = Path(out)
        return TableOutput(path.with_name(f"{path.name}.journal"), choose_writer(path), path)
    place = PurePosixPath(str(out).split("://", 1)[1])
    writer = table_writer(place.name)
    store = _object_store(str(out))
    store.require_bucket()
    return TableOutput(_cached_journal(str(out)), writer, store=store, name=place.name)


def _object_store(address: str) -> ObjectStore:
    """Where the object lies; of s3://out.csv, which names none in a bucket, nowhere."""
    folder = address.rpartition("/")[0]
    store = open_storage(folder) if "://" in folder else None
    if not isinstance(store, ObjectStore):
        raise BadInput(f"{address} is no address that is written", "name the bucket, too: s3://BUCKET/PATH/out.parquet")
    return store


def _cached_journal(address: str) -> Path:
    """The same for the same address, whatever folder the command is started in."""
    named = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(named) if named else Path.home() / ".cache") / "deepfake-detector" / "scans"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"the journal of the scan cannot be written: {write_failure(folder, error).message}",
            "name a folder for it with XDG_CACHE_HOME",
        ) from error
    return folder / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.journal"
