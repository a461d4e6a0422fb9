"""Store -> the lock that a process holds while it changes the aliases.

A local store is locked by a file beside it, which the system releases when the holder dies. On a server the lock is a
registered model NAME.moving: MLflow creates a name only once, and the holder deletes it afterwards. A holder that died
leaves it behind; a process that sees it unchanged for LEASE_S deletes it.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detector.errors import ConcurrentChange, ToolFailed
from deepfake_detector.tracking.store import local_database, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

SUFFIX = ".moving"  # of the file or registered model; older versions of this program lock the same name
WAIT_S = 120.0  # for other holders; a change takes a second
LEASE_S = 30.0
POLL_S = 0.5
# MLflow's codes for a name that exists, or that was deleted while MLflow wrote its error.
LOCKED_CODES = ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST")


@dataclass(frozen=True)
class HeldLock:
    """A lock that is held; on a server another process may have deleted it, see LEASE_S."""

    client: MlflowClient | None = None
    name: str = ""
    owner: str = ""

    def check(self) -> None:
        """Verify that the lock is still held, right before the change.

        Raises:
            ConcurrentChange: another process took the lock.
        """
        if self.client is not None and _owner(self.client, self.name) != self.owner:
            raise ConcurrentChange(
                f"lost the lock {self.name}: this process was inactive for {LEASE_S:g} s", "repeat the command"
            )


@contextmanager
def registry_lock(client: MlflowClient, model_name: str) -> Iterator[HeldLock]:
    """Hold the lock for the `with` block.

    Args:
        client: of the store.
        model_name: registered model whose aliases are to be changed.

    Raises:
        ToolFailed: another process held it for WAIT_S.
    """
    database = local_database(tracking_uri())
    if database is not None:
        with _file_lock(database.with_name(f"{database.name}{SUFFIX}")):
            yield HeldLock()
        return
    name, owner = f"{model_name}{SUFFIX}", uuid.uuid4().hex
    _acquire(client, name, owner)
    try:
        yield HeldLock(client, name, owner)
    finally:
        if _owner(client, name) == owner:
            client.delete_registered_model(name)


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """SQLite's own lock on an empty file: it works wherever the store does, and ends with the process."""
    with closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise _timed_out(str(path), str(error)) from error
        yield


def _acquire(client: MlflowClient, name: str, owner: str) -> None:
    from mlflow.exceptions import MlflowException

    started_s = unchanged_since_s = time.monotonic()
    last_holder: str | None = None
    while time.monotonic() - started_s < WAIT_S:
        try:
            client.create_registered_model(name, tags={"owner": owner}, description="Lock of a change of the aliases.")
            return
        except MlflowException as error:
            if error.error_code not in LOCKED_CODES:
                raise
        holder = _owner(client, name)
        if holder != last_holder:
            last_holder, unchanged_since_s = holder, time.monotonic()
        elif holder is not None and time.monotonic() - unchanged_since_s > LEASE_S:
            _delete_expired(client, name, holder)
        time.sleep(POLL_S)
    raise _timed_out(name, f"held by {last_holder}")


def _delete_expired(client: MlflowClient, name: str, holder: str) -> None:
    """Delete the lock of a holder that seems dead, unless another waiting process has done so."""
    from mlflow.exceptions import MlflowException

    if _owner(client, name) != holder:
        return
    try:
        client.delete_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _owner(client: MlflowClient, name: str) -> str | None:
    """Who holds the lock; None if it is free."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_registered_model(name).tags.get("owner", ""))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _timed_out(name: str, detail: str) -> ToolFailed:
    return ToolFailed(
        f"another process has been changing the registry for {WAIT_S:g} s ({name}: {detail})",
        "wait for it, or end it if it hangs",
    )
