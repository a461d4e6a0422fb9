"""Changes of the aliases: planned as plain values, and applied to a real store that is interrupted at every step."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any, Literal

import pytest

from deepfake_detector.errors import ConcurrentChange
from deepfake_detector.registry.alias_history import (
    MAX_EARLIER,
    MAX_REASON,
    PENDING_TAG,
    AliasChange,
    apply_change,
    changed_outside,
    manual_change,
    parse_change,
    plan_change,
    read_earlier_champions,
    read_history,
    recover,
    settled_state,
    with_challenger,
    with_champion,
    with_rollback,
)
from deepfake_detector.registry.lock import registry_lock
from deepfake_detector.registry.model_registry import read_registry
from deepfake_detector.tracking.store import open_client
from tests.pipeline_checkout import PipelineCheckout

STEPS = 6  # pending tag, champion, previous, challenger, history, pending tag deleted
Effect = Callable[[AliasChange], AliasChange]


def champion(number: str, kind: Literal["register", "promote"] = "promote") -> Effect:
    return lambda change: with_champion(change, number, kind)


def challenger(number: str) -> Effect:
    return lambda change: with_challenger(change, number)


class DictStore:
    """Applies changes to plain dictionaries, as the store would."""

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.aliases: dict[str, str] = {}

    @property
    def history(self) -> tuple[AliasChange, ...]:
        return read_history(self.tags)

    @property
    def earlier(self) -> tuple[str, ...]:
        return read_earlier_champions(self.history, self.aliases)

    def plan(self, reason: str = "because") -> AliasChange:
        return plan_change(self.history, self.aliases, 9, "me", reason)

    def apply(self, change: AliasChange) -> None:
        self.aliases = {alias: number for alias, number in change.aliases.items() if number}
        self.tags[change.tag] = change.to_json()


@pytest.fixture
def store() -> DictStore:
    """Versions 1, 2 and 3 became champion in this order."""
    store = DictStore()
    for number in ("1", "2", "3"):
        store.apply(with_champion(store.plan(), number, "register"))
    return store


def test_each_champion_replaces_the_one_before(store: DictStore) -> None:
    assert store.aliases == {"champion": "3", "previous": "2"}
    changes = [(change.number, change.before, change.champion) for change in store.history]
    assert changes == [(1, "", "1"), (2, "1", "2"), (3, "2", "3")]


def test_each_rollback_goes_back_one_champion_until_there_is_none(store: DictStore) -> None:
    for expected, previous in (("2", "1"), ("1", None)):
        store.apply(with_rollback(store.plan(), store.earlier[-1]))
        assert store.aliases.get("champion") == expected
        assert store.aliases.get("previous") == previous
    assert store.earlier == ()


def test_a_promotion_after_a_rollback_continues_from_there(store: DictStore) -> None:
    store.apply(with_rollback(store.plan(), "2"))
    store.apply(with_champion(store.plan(), "3", "promote"))
    assert store.earlier == ("1", "2")


def test_earlier_champions_hold_a_version_once(store: DictStore) -> None:
    store.apply(with_champion(store.plan(), "1", "promote"))
    assert store.earlier == ("2", "3")


def test_a_challenger_changes_no_other_alias_and_loses_its_alias_when_promoted(store: DictStore) -> None:
    store.apply(with_challenger(store.plan(), "4"))
    assert store.aliases == {"champion": "3", "previous": "2", "challenger": "4"}
    store.apply(with_champion(store.plan(), "4", "promote"))
    assert store.aliases == {"champion": "4", "previous": "3"}


def test_a_pending_change_counts_once_its_decisive_alias_is_set(store: DictStore) -> None:
    change = with_champion(store.plan(), "4", "register")
    before = dict(store.aliases)
    store.tags[PENDING_TAG] = change.to_json()
    assert settled_state(store.tags, store.aliases) == (store.history, before)
    decisive = store.aliases | {"champion": "4"}
    history, aliases = settled_state(store.tags, decisive)
    assert aliases == {"champion": "4", "previous": "3"}
    assert history[-1] == change
    store.tags[change.tag] = change.to_json()  # only the pending tag is still to be deleted
    assert settled_state(store.tags, decisive)[0] == history


def test_a_manual_change_is_known_until_the_gate_changes_the_champion(store: DictStore) -> None:
    assert manual_change(store.history, store.aliases) is None
    store.apply(with_rollback(store.plan(), "2"))
    store.apply(with_challenger(store.plan(), "4"))
    change = manual_change(store.history, store.aliases)
    assert change is not None
    assert (change.kind, change.newest_version) == ("rollback", 9)
    store.apply(with_champion(store.plan(), "5", "register"))
    assert manual_change(store.history, store.aliases) is None


def test_an_alias_set_by_another_program_is_detected(store: DictStore) -> None:
    assert not changed_outside(store.history, store.aliases)
    assert not changed_outside((), {"champion": "1"})  # a store from before there was a history
    assert not changed_outside(store.history, {"previous": "2"})  # a deleted champion leaves the choice to the gate
    store.aliases["champion"] = "1"
    assert changed_outside(store.history, store.aliases)
    assert store.earlier == ("2",)  # what the alias `previous` names


def test_a_change_fits_into_a_tag_and_is_read_back() -> None:
    change = plan_change((), {}, 1, "me" * 20, "x" * 9000)
    for i in range(200):
        change = replace(with_champion(change, str(10_000 + i), "register"), before=str(10_000 + i))
    assert len(change.earlier_champions) == MAX_EARLIER
    assert parse_change(change.to_json()) == change
    assert MAX_REASON < len(change.reason) < MAX_REASON + 10
    assert len(change.to_json()) < 5000


def test_changes_of_older_stores_are_read_and_their_format_is_kept() -> None:
    stored = (
        '{"at": "2026-11-22T10:00:00Z", "before": "1", "by": "ada@lab", "challenger": "", "champion": "2", '
        '"forced": true, "kind": "promote", "known": 3, "line": ["1"], "number": 2, "why": "because"}'
    )
    (change,) = read_history({"move:0002": stored})
    assert (change.earlier_champions, change.newest_version, change.reason) == (("1",), 3, "because")
    assert (change.tag, change.to_json(), PENDING_TAG) == ("move:0002", stored, "moving")


def test_the_text_of_a_change(store: DictStore) -> None:
    first, _, third = store.history
    assert str(first).endswith("Z version 1 became the first champion, by me: because")
    refused = with_challenger(plan_change((), {}, 1, "me", "refused: too bad"), "1")
    assert str(refused).endswith("Z version 1 became challenger of no champion, by me: refused: too bad")
    assert "version 3 replaced 2, by me: because" in str(third)
    assert "version 4 was promoted over 3, by" in str(with_champion(store.plan(), "4", "promote"))
    assert "version 2 was restored in place of 3, by me (forced): bad" in str(
        with_rollback(store.plan("bad"), "2", True)
    )
    assert "version 4 became challenger of 3" in str(with_challenger(store.plan(), "4"))


@pytest.fixture
def client(checkout: PipelineCheckout, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real store with four empty versions of `tiny`: 1 and then 2 became champion, 3 is challenger."""
    prepared, database = tmp_path_factory.getbasetemp() / "four-versions.db", checkout.workspace.root / "mlflow.db"
    if prepared.exists():
        shutil.copyfile(prepared, database)  # to make it for each test took most of this file's time
        return open_client()
    client = _four_versions()
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(prepared)) as copy:
        source.backup(copy)
    return client


def _four_versions() -> Any:
    client = open_client()
    client.create_registered_model("tiny")
    for number in "1234":
        client.create_model_version("tiny", f"mlflow-artifacts:/nothing-{number}", tags={"bundle_sha256": number})
    for number in "12":
        apply(client, champion(number, "register"))
    apply(client, challenger("3"))
    return client


def planned(effect: Effect) -> AliasChange:
    snapshot = read_registry("tiny")
    return effect(plan_change(snapshot.history, snapshot.aliases, snapshot.newest, "me", "because"))


def apply(client: Any, effect: Effect) -> None:
    change = planned(effect)
    with registry_lock(client, "tiny") as lock:
        apply_change(client, "tiny", change, lock)


def aliases_in_mlflow(client: Any) -> dict[str, str]:
    return {alias: str(n) for alias, n in client.get_registered_model("tiny").aliases.items()}


class InterruptedClient:
    """A client that raises KeyboardInterrupt in place of its write number `at`."""

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


CHANGES: dict[str, tuple[Effect, dict[str, str]]] = {
    "promote": (champion("3"), {"champion": "3", "previous": "2"}),
    "rollback": (lambda change: with_rollback(change, "1"), {"champion": "1", "challenger": "3"}),
    "challenge": (challenger("4"), {"champion": "2", "previous": "1", "challenger": "4"}),
}
OLD = {"champion": "2", "previous": "1", "challenger": "3"}


@pytest.mark.parametrize("at", range(STEPS + 1))
@pytest.mark.parametrize("kind", CHANGES)
def test_an_interruption_before_any_step_leaves_the_old_state_or_the_new_one(client: Any, kind: str, at: int) -> None:
    effect, new = CHANGES[kind]
    change = planned(effect)
    try:
        with registry_lock(client, "tiny") as lock:
            apply_change(InterruptedClient(client, at), "tiny", change, lock)  # type: ignore[arg-type]
        assert at == STEPS
    except KeyboardInterrupt:
        assert at < STEPS
    snapshot = read_registry("tiny")
    assert dict(snapshot.aliases) in (OLD, new)
    assert (snapshot.history[-1] == change) == (snapshot.aliases == new)
    assert snapshot.aliases["champion"] == aliases_in_mlflow(client)["champion"]  # other readers see the same champion
    assert (snapshot.aliases == OLD) == (at <= 1)
    with registry_lock(client, "tiny"):
        recover(client, "tiny")
    assert read_registry("tiny") == snapshot  # recovery changes nothing that a reader saw before
    assert aliases_in_mlflow(client) == snapshot.aliases
    assert PENDING_TAG not in client.get_registered_model("tiny").tags


def test_the_next_change_completes_an_interrupted_one(client: Any) -> None:
    change = planned(CHANGES["promote"][0])
    with pytest.raises(KeyboardInterrupt), registry_lock(client, "tiny") as lock:
        apply_change(InterruptedClient(client, 2), "tiny", change, lock)  # type: ignore[arg-type]
    apply(client, champion("4"))
    snapshot = read_registry("tiny")
    assert dict(snapshot.aliases) == {"champion": "4", "previous": "3"}
    assert [change.champion for change in snapshot.history] == ["1", "2", "2", "3", "4"]
    assert aliases_in_mlflow(client) == snapshot.aliases


def test_a_process_that_is_killed_between_two_steps(client: Any) -> None:
    code = (
        "import os, warnings; warnings.simplefilter('ignore')\n"
        "from deepfake_detector.registry.alias_history import apply_change, plan_change, with_champion\n"
        "from deepfake_detector.registry.lock import registry_lock\n"
        "from deepfake_detector.registry.model_registry import read_registry\n"
        "from deepfake_detector.tracking.store import open_client\n"
        "client, now = open_client(), read_registry('tiny')\n"
        "client.delete_registered_model_alias = lambda *_: os._exit(9)\n"  # after champion and previous
        "change = with_champion(plan_change(now.history, now.aliases, 4, 'me', 'because'), '3', 'promote')\n"
        "with registry_lock(client, 'tiny') as lock: apply_change(client, 'tiny', change, lock)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=os.environ, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    assert aliases_in_mlflow(client) == {"champion": "3", "previous": "2", "challenger": "3"}
    assert dict(read_registry("tiny").aliases) == {"champion": "3", "previous": "2"}
    apply(client, challenger("4"))
    assert aliases_in_mlflow(client) == {"champion": "3", "previous": "2", "challenger": "4"}


def test_of_two_changes_planned_against_one_champion_only_the_first_is_applied(client: Any) -> None:
    first, second = (planned(champion(number)) for number in "34")
    with registry_lock(client, "tiny") as lock:
        apply_change(client, "tiny", first, lock)
    before = read_registry("tiny")
    with (
        pytest.raises(ConcurrentChange, match="the champion is version 3, and was 2"),
        registry_lock(client, "tiny") as lock,
    ):
        apply_change(client, "tiny", second, lock)
    assert read_registry("tiny") == before


def test_an_alias_set_in_mlflow_discards_a_pending_change(client: Any) -> None:
    with pytest.raises(KeyboardInterrupt), registry_lock(client, "tiny") as lock:
        apply_change(InterruptedClient(client, 1), "tiny", planned(CHANGES["promote"][0]), lock)  # type: ignore[arg-type]
    client.set_registered_model_alias("tiny", "champion", "4")
    with registry_lock(client, "tiny"):
        recover(client, "tiny")
    assert aliases_in_mlflow(client)["champion"] == "4"
    assert read_registry("tiny").newest_at_manual_change == 4
