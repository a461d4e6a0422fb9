"""One process at a time: a file beside a local store, a name on a server, and what becomes of holders that died."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deepfake_detector.errors import Overtaken, ToolFailed
from deepfake_detector.registry import lock
from deepfake_detector.registry.lock import Held, only_one
from deepfake_detector.tracking.store import open_client

HOLD = (
    "import sys, time\n"
    "from deepfake_detector.registry.lock import only_one\n"
    "with only_one(None, 'tiny'):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


@pytest.fixture
def on_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same store, locked as one behind a server is: through MLflow's own interface alone."""
    monkeypatch.setattr(lock, "local_database", lambda uri: None)
    monkeypatch.setattr(lock, "LOOK_S", 0.02)


def test_a_holder_in_another_process_is_waited_for_and_a_dead_one_is_not(
    road: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "WAIT_S", 0.3)
    with subprocess.Popen([sys.executable, "-c", HOLD], env=os.environ, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ToolFailed, match="somebody else has been changing the registry"), only_one(None, "tiny"):
            pass  # type: ignore[unreachable]
        holder.kill()
        holder.wait()
        with only_one(None, "tiny") as held:  # type: ignore[arg-type]
            held.check()


def test_two_threads_never_hold_it_at_once(road: Any, on_server: None) -> None:
    client, inside, most = open_client(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(3):
            with only_one(client, "tiny"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.01)
                inside -= 1

    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(work) for _ in range(3)]:
            done.result()
    assert (inside, most) == (0, 1)
    assert not client.search_registered_models("name = 'tiny.moving'")


def test_a_lock_whose_holder_died_is_taken_away(road: Any, on_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LEASE_S", 0.1)
    client = open_client()
    client.create_registered_model("tiny.moving", tags={"owner": "dead"})
    with only_one(client, "tiny") as held:
        held.check()
        assert client.get_registered_model("tiny.moving").tags["owner"] == held.owner


def test_a_holder_that_was_thought_dead_notices_and_leaves_the_new_one_alone(road: Any, on_server: None) -> None:
    client = open_client()
    with only_one(client, "tiny") as held:
        client.set_registered_model_tag("tiny.moving", "owner", "another")
        with pytest.raises(Overtaken, match="taken away"):
            held.check()
    assert client.get_registered_model("tiny.moving").tags["owner"] == "another"


def test_it_is_given_back_when_the_block_fails(road: Any, on_server: None) -> None:
    client = open_client()
    with pytest.raises(ValueError, match="broken"), only_one(client, "tiny"):
        raise ValueError("broken")
    assert not client.search_registered_models("name = 'tiny.moving'")


def test_waiting_ends(road: Any, on_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "WAIT_S", 0.2)
    client = open_client()
    client.create_registered_model("tiny.moving", tags={"owner": "busy"})
    with pytest.raises(ToolFailed, match="held by busy"), only_one(client, "tiny"):
        pass


def test_a_local_lock_has_nothing_to_check() -> None:
    Held().check()
