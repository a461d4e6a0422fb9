"""One holder at a time: a file beside a local store, a registered model on a server, and holders that died."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deepfake_detector.errors import ConcurrentChange, ToolFailed
from deepfake_detector.registry import lock
from deepfake_detector.registry.lock import HeldLock, registry_lock
from deepfake_detector.tracking import store
from deepfake_detector.tracking.store import open_client
from tests.pipeline_checkout import PipelineCheckout

NO_CLIENT: Any = None  # a local lock needs none
HOLD = (
    "import time\n"
    "from deepfake_detector.registry.lock import registry_lock\n"
    "with registry_lock(None, 'tiny'):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


@pytest.fixture
def on_server(checkout: PipelineCheckout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same store, locked as one behind a server is: through MLflow's client alone."""
    monkeypatch.setattr(lock, "local_database", lambda uri: None)
    monkeypatch.setattr(lock, "POLL_S", 0.02)


def test_the_file_lock_waits_for_a_living_holder_and_not_for_a_dead_one(
    checkout: PipelineCheckout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOCK_WAIT_S", 0.3)
    with subprocess.Popen([sys.executable, "-c", HOLD], env=os.environ, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ToolFailed, match="another process has been changing the MLflow store"):
            registry_lock(NO_CLIENT, "tiny").__enter__()
        holder.kill()
        holder.wait()
        with registry_lock(NO_CLIENT, "tiny") as held:
            held.check()


def test_two_threads_never_hold_the_lock_at_once(on_server: None) -> None:
    client, inside, most = open_client(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(3):
            with registry_lock(client, "tiny"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.01)
                inside -= 1

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(work) for _ in range(3)]:
            future.result()
    assert (inside, most) == (0, 1)
    assert not client.search_registered_models("name = 'tiny.moving'")


def test_the_lock_of_a_dead_holder_is_deleted(on_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LEASE_S", 0.1)
    client = open_client()
    client.create_registered_model("tiny.moving", tags={"owner": "dead"})
    with registry_lock(client, "tiny") as held:
        held.check()
        assert client.get_registered_model("tiny.moving").tags["owner"] == held.owner


def test_a_holder_that_lost_its_lock_notices_and_does_not_delete_the_new_one(on_server: None) -> None:
    client = open_client()
    with registry_lock(client, "tiny") as held:
        client.set_registered_model_tag("tiny.moving", "owner", "another")
        with pytest.raises(ConcurrentChange, match=r"lost the lock tiny\.moving"):
            held.check()
    assert client.get_registered_model("tiny.moving").tags["owner"] == "another"


def test_the_lock_is_released_when_the_block_fails(on_server: None) -> None:
    client = open_client()
    with pytest.raises(ValueError, match="broken"), registry_lock(client, "tiny"):
        raise ValueError("broken")
    assert not client.search_registered_models("name = 'tiny.moving'")


def test_waiting_for_a_lock_times_out(on_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LOCK_WAIT_S", 0.2)
    client = open_client()
    client.create_registered_model("tiny.moving", tags={"owner": "busy"})
    with pytest.raises(ToolFailed, match="held by busy"), registry_lock(client, "tiny"):
        pass


def test_a_local_lock_is_never_lost() -> None:
    HeldLock().check()
