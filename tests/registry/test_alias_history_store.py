"""Moves on a real store: killed at every step, the state is the old one or the new one, and the next move heals it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import Any

import pytest

from deepfake_detector.errors import Overtaken
from deepfake_detector.registry.alias_history import (
    UNDERWAY,
    Move,
    carry_out,
    challenging,
    next_move,
    promoted,
    recover,
    rolled_back,
)
from deepfake_detector.registry.lock import only_one
from deepfake_detector.registry.model_registry import Shelf, read_shelf
from deepfake_detector.tracking.store import open_client

STEPS = 6  # note, champion, previous, challenger, history, note away


@pytest.fixture
def client(road: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store with four empty versions of `tiny`, of which 1 and then 2 became champion, and 3 challenges."""
    made, here = tmp_path_factory.getbasetemp() / "four-versions.db", road.workspace.root / "mlflow.db"
    if made.exists():
        shutil.copyfile(made, here)  # making it anew for each test took most of this file's time
        return open_client()
    client = _four_versions()
    with closing(sqlite3.connect(here)) as store, closing(sqlite3.connect(made)) as copy:
        store.backup(copy)
    return client


def _four_versions() -> Any:
    client = open_client()
    client.create_registered_model("tiny")
    for number in "1234":
        client.create_model_version("tiny", f"mlflow-artifacts:/nothing-{number}", tags={"bundle_sha256": number})
    for number in "12":
        move(client, lambda m, n=number: promoted(m, n, "register"))
    move(client, lambda m: challenging(m, "3"))
    return client


def planned(change: Any) -> Move:
    shelf = read_shelf("tiny")
    return change(next_move(shelf.moves, shelf.aliases, shelf.newest, "me", "because"))


def move(client: Any, change: Any) -> Move:
    plan = planned(change)
    with only_one(client, "tiny") as held:
        carry_out(client, "tiny", plan, held)
    return plan


def raw(client: Any) -> dict[str, str]:
    return {alias: str(n) for alias, n in client.get_registered_model("tiny").aliases.items()}


class Dying:
    """A client that dies right before its call number `at` that changes anything."""

    def __init__(self, client: Any, at: int) -> None:
        self._client, self._left = client, at

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not name.startswith(("set_", "delete_")):
            return method

        def call(*args: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise KeyboardInterrupt
            return method(*args)

        return call


CHANGES = {
    "promote": (lambda m: promoted(m, "3", "promote"), {"champion": "3", "previous": "2"}),
    "rollback": (lambda m: rolled_back(m, "1"), {"champion": "1", "challenger": "3"}),
    "challenge": (lambda m: challenging(m, "4"), {"champion": "2", "previous": "1", "challenger": "4"}),
}
OLD = {"champion": "2", "previous": "1", "challenger": "3"}


@pytest.mark.parametrize("at", range(STEPS + 1))
@pytest.mark.parametrize("kind", CHANGES)
def test_a_kill_before_any_step_leaves_the_old_state_or_the_new_one(client: Any, kind: str, at: int) -> None:
    change, new = CHANGES[kind]
    plan = planned(change)
    try:
        with only_one(client, "tiny") as held:
            carry_out(Dying(client, at), "tiny", plan, held)
        assert at == STEPS
    except KeyboardInterrupt:
        assert at < STEPS
    told = read_shelf("tiny")
    assert dict(told.aliases) in (OLD, new)
    assert (told.moves[-1] == plan) == (told.aliases == new)
    assert told.aliases["champion"] == raw(client)["champion"]  # what others see through MLflow is never between
    assert (told.aliases == OLD) == (at <= 1)
    with only_one(client, "tiny"):
        recover(client, "tiny")
    after = read_shelf("tiny")
    assert after == told  # healing changes nothing that was told before
    assert raw(client) == told.aliases
    assert UNDERWAY not in client.get_registered_model("tiny").tags


def test_the_next_move_heals_what_the_last_one_left(client: Any) -> None:
    plan = planned(CHANGES["promote"][0])
    with pytest.raises(KeyboardInterrupt), only_one(client, "tiny") as held:
        carry_out(Dying(client, 2), "tiny", plan, held)
    move(client, lambda m: promoted(m, "4", "promote"))
    shelf = read_shelf("tiny")
    assert dict(shelf.aliases) == {"champion": "4", "previous": "3"}
    assert [m.champion for m in shelf.moves] == ["1", "2", "2", "3", "4"]
    assert raw(client) == shelf.aliases


def test_a_process_that_really_dies_between_two_steps(client: Any) -> None:
    code = (
        "import os, warnings; warnings.simplefilter('ignore')\n"
        "from deepfake_detector.registry import aliases, moves, shelf\n"
        "from deepfake_detector.registry.lock import only_one\n"
        "from deepfake_detector.tracking.store import open_client\n"
        "client, s = open_client(), shelf.read_shelf('tiny')\n"
        "client.delete_registered_model_alias = lambda *_: os._exit(9)\n"  # after champion and previous
        "plan = moves.promoted(moves.next_move(s.moves, s.aliases, 4, 'me', 'because'), '3', 'promote')\n"
        "with only_one(client, 'tiny') as held: aliases.carry_out(client, 'tiny', plan, held)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=os.environ, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    assert raw(client) == {"champion": "3", "previous": "2", "challenger": "3"}
    assert dict(read_shelf("tiny").aliases) == {"champion": "3", "previous": "2"}
    move(client, lambda m: challenging(m, "4"))
    assert raw(client) == {"champion": "3", "previous": "2", "challenger": "4"}


def test_of_two_plans_against_the_same_champion_only_the_first_is_carried_out(client: Any) -> None:
    first, second = planned(lambda m: promoted(m, "3", "promote")), planned(lambda m: promoted(m, "4", "promote"))
    with only_one(client, "tiny") as held:
        carry_out(client, "tiny", first, held)
    before: Shelf = read_shelf("tiny")
    with pytest.raises(Overtaken, match="the champion is version 3, and was 2"), only_one(client, "tiny") as held:
        carry_out(client, "tiny", second, held)
    assert read_shelf("tiny") == before


def test_somebody_who_sets_the_alias_in_mlflow_is_not_overruled_by_an_unfinished_move(client: Any) -> None:
    with pytest.raises(KeyboardInterrupt), only_one(client, "tiny") as held:
        carry_out(Dying(client, 1), "tiny", planned(CHANGES["promote"][0]), held)
    client.set_registered_model_alias("tiny", "champion", "4")
    with only_one(client, "tiny"):
        recover(client, "tiny")
    assert raw(client)["champion"] == "4"
    assert read_shelf("tiny").chosen_among == 4
