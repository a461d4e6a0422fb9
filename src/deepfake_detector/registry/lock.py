"""Store -> the right to change its aliases, which only one process has at a time.

A local store is locked by a file beside it; the system gives the lock back when its holder dies. A server has no lock
to offer, but no two models of one name: whoever creates the model NAME.moving holds it, and deletes it afterwards. One
that died leaves it behind; who watches it unchanged for LEASE_S takes it away.
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

from deepfake_detector.errors import Overtaken, ToolFailed
from deepfake_detector.tracking.store import local_database, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

WAIT_S = 120.0  # for the others; a move takes a second
LEASE_S = 30.0
LOOK_S = 0.5
# Of a name that exists; or that existed, and was deleted while MLflow put its refusal into words.
TAKEN = ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST")


@dataclass(frozen=True)
class Held:
    """A lock that is held; on a server it can be lost to somebody who thought its holder dead."""

    client: MlflowClient | None = None
    name: str = ""
    owner: str = ""

    def check(self) -> None:
        """Ask once more, right before the deed.

        Raises:
            Overtaken: somebody took the lock away.
        """
        if self.client is not None and _owner(self.client, self.name) != self.owner:
            raise Overtaken(f"{self.name} was taken away: this process was silent for {LEASE_S:g} s", "ask again")


@contextmanager
def only_one(client: MlflowClient, model_name: str) -> Iterator[Held]:
    """Hold the lock for the `with` block.

    Args:
        client: of the store.
        model_name: whose aliases are to be changed.

    Raises:
        ToolFailed: somebody else held it all the time.
    """
    database = local_database(tracking_uri())
    if database is not None:
        with _file_lock(database.with_name(f"{database.name}.moving")):
            yield Held()
        return
    name, owner = f"{model_name}.moving", uuid.uuid4().hex
    _take(client, name, owner)
    try:
        yield Held(client, name, owner)
    finally:
        if _owner(client, name) == owner:
            client.delete_registered_model(name)


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    """SQLite's own lock on an empty file: it works wherever the store does, and dies with the process."""
    with closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise _too_long(str(path), str(error)) from error
        yield


def _take(client: MlflowClient, name: str, owner: str) -> None:
    from mlflow.exceptions import MlflowException

    started_s = unchanged_s = time.monotonic()
    seen: str | None = None
    while time.monotonic() - started_s < WAIT_S:
        try:
            client.create_registered_model(name, tags={"owner": owner}, description="Lock: somebody moves an alias.")
            return
        except MlflowException as error:
            if error.error_code not in TAKEN:
                raise
        holder = _owner(client, name)
        if holder != seen:
            seen, unchanged_s = holder, time.monotonic()
        elif holder is not None and time.monotonic() - unchanged_s > LEASE_S:
            _take_away(client, name, holder)
        time.sleep(LOOK_S)
    raise _too_long(name, f"held by {seen}")


def _take_away(client: MlflowClient, name: str, holder: str) -> None:
    """From a holder that is thought dead; another who waited may have been faster."""
    from mlflow.exceptions import MlflowException

    if _owner(client, name) != holder:
        return
    try:
        client.delete_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _owner(client: MlflowClient, name: str) -> str | None:
    """Who holds it; None if nobody does."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_registered_model(name).tags.get("owner", ""))
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _too_long(what: str, why: str) -> ToolFailed:
    return ToolFailed(
        f"somebody else has been changing the registry for {WAIT_S:g} s ({what}: {why})",
        "wait for them, or end the process that hangs",
    )
