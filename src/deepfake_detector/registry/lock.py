"""Store -> the lock that a process holds while it changes the aliases.

A local store is locked by a file beside it, which the system releases when the holder dies. On a server the lock is a
registered model NAME.moving: MLflow creates a name only once, and the holder deletes it afterwards. A holder that died
leaves it behind; a process that sees it unchanged for LEASE_S deletes it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepfake_detector.errors import ConcurrentChange
from deepfake_detector.tracking.store import (
    LOCK_SUFFIX,
    LOCK_WAIT_S,
    local_database,
    lock_timeout,
    store_lock,
    tracking_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

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
        ToolFailed: another process held it for LOCK_WAIT_S.
    """
    database = local_database(tracking_uri())
    if database is not None:
        with store_lock(database):
            yield HeldLock()
        return
    name, owner = f"{model_name}{LOCK_SUFFIX}", uuid.uuid4().hex
    _acquire(client, name, owner)
    try:
        yield HeldLock(client, name, owner)
    finally:
        if _owner(client, name) == owner:
            client.delete_registered_model(name)


def _acquire(client: MlflowClient, name: str, owner: str) -> None:
    from mlflow.exceptions import MlflowException

    started_s = unchanged_since_s = time.monotonic()
    last_holder: str | None = None
    while time.monotonic() - started_s < LOCK_WAIT_S:
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
    raise lock_timeout(name, f"held by {last_holder}")


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
