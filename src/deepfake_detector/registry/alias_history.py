"""Registry state, a version and a reason -> one change of the aliases, applied so that a crash leaves old or new state.

MLflow sets one alias per call. A change is therefore stored as a tag first (PENDING_TAG), then the aliases are set, the
decisive one first, then the change is stored in the history (CHANGE_TAG and its number). Planning a change is pure;
`apply_change` and `recover` write to the store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from deepfake_detector.errors import ConcurrentChange
from deepfake_detector.registry.lock import HeldLock

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
# Tags of the registered model. Stores hold them, so their names and those of the JSON fields stay as they are.
CHANGE_TAG, PENDING_TAG = "move:", "moving"
STORED_NAMES = {"earlier_champions": "line", "newest_version": "known", "reason": "why"}
MAX_REASON, MAX_EARLIER = 1500, 50  # characters, versions: a tag holds 5000 characters in PostgreSQL

MODEL_SUMMARY = "Detects generated and swapped faces in pictures and videos."
MAX_DESCRIBED, MAX_CELL = 12, 120  # changes, characters: MLflow's description holds 5000 characters

ChangeKind = Literal["register", "challenge", "promote", "rollback"]
MANUAL_KINDS: tuple[ChangeKind, ...] = ("promote", "rollback")


@dataclass(frozen=True)
class AliasChange:
    """One change of the aliases; version numbers are text, "" for none.

    Attributes:
        number: 1 for the first change.
        kind: register and challenge are the gate's changes, promote and rollback manual ones.
        before: champion before the change.
        champion: champion after it.
        challenger: challenger after it.
        earlier_champions: to which `rollback` returns, the latest last; without those that a rollback has left behind.
        newest_version: highest version number at the time; see `RegistrySnapshot.newest_at_manual_change`.
        at: time, UTC.
        by: account and machine.
        reason: in words.
        forced: whether the gate was overruled.
    """

    number: int
    kind: ChangeKind
    before: str
    champion: str
    challenger: str
    earlier_champions: tuple[str, ...]
    newest_version: int
    at: str
    by: str
    reason: str
    forced: bool = False

    @property
    def aliases(self) -> dict[str, str]:
        """Alias -> version after the change. The first one is decisive: once it is set, the change counts as made."""
        previous = self.earlier_champions[-1] if self.earlier_champions else ""
        aliases = {CHAMPION: self.champion, PREVIOUS: previous, CHALLENGER: self.challenger}
        return aliases if self.kind != "challenge" else {CHALLENGER: self.challenger} | aliases

    @property
    def tag(self) -> str:
        """Key of its tag in the history."""
        return f"{CHANGE_TAG}{self.number:04d}"

    def to_json(self) -> str:
        """Value of its tag."""
        fields = {STORED_NAMES.get(name, name): value for name, value in asdict(self).items()}
        return json.dumps(fields, sort_keys=True)

    def is_made(self, aliases: Mapping[str, str]) -> bool:
        """Whether the decisive alias is set in the store."""
        alias, version = next(iter(self.aliases.items()))
        return aliases.get(alias, "") == version

    @property
    def outcome(self) -> str:
        """In words, for example `version 3 replaced 1`."""
        if self.kind == "challenge":
            words = f"became challenger of {self.champion}" if self.champion else "became challenger of no champion"
        elif not self.before:
            words = "became the first champion"
        else:
            verbs = {"register": "replaced", "promote": "was promoted over", "rollback": "was restored in place of"}
            words = f"{verbs[self.kind]} {self.before}"
        return f"version {self.challenger if self.kind == 'challenge' else self.champion} {words}"

    @property
    def author(self) -> str:
        """Who made it, and whether that overruled the gate."""
        return f"{self.by} (forced)" if self.forced else self.by

    def __str__(self) -> str:
        return f"{self.at} {self.outcome}, by {self.author}: {self.reason}"


def parse_change(tag: str) -> AliasChange:
    """Read what `AliasChange.to_json` wrote."""
    names = {stored: name for name, stored in STORED_NAMES.items()}
    fields: dict[str, Any] = {names.get(name, name): value for name, value in json.loads(tag).items()}
    return AliasChange(**(fields | {"earlier_champions": tuple(fields["earlier_champions"])}))


def read_history(tags: Mapping[str, str]) -> tuple[AliasChange, ...]:
    """All completed changes in the tags of a registered model, oldest first."""
    return tuple(parse_change(tags[key]) for key in sorted(tags) if key.startswith(CHANGE_TAG))


def settled_state(
    tags: Mapping[str, str], aliases: Mapping[str, str]
) -> tuple[tuple[AliasChange, ...], dict[str, str]]:
    """History and aliases as they are once `recover` has run: a pending change is complete or absent."""
    history = read_history(tags)
    pending = parse_change(tags[PENDING_TAG]) if PENDING_TAG in tags else None
    if pending is None or not pending.is_made(aliases):
        return history, dict(aliases)
    unchanged = {alias: number for alias, number in aliases.items() if alias not in pending.aliases}
    changed = {alias: number for alias, number in pending.aliases.items() if number}
    return (*(change for change in history if change.number != pending.number), pending), unchanged | changed


def read_earlier_champions(history: tuple[AliasChange, ...], aliases: Mapping[str, str]) -> tuple[str, ...]:
    """Champions to which `rollback` can return, the latest last.

    Of a champion that was set in MLflow's pages only `previous` is known.
    """
    if history and history[-1].champion == aliases.get(CHAMPION, ""):
        return history[-1].earlier_champions
    return tuple(number for number in [aliases.get(PREVIOUS)] if number)


def manual_change(history: tuple[AliasChange, ...], aliases: Mapping[str, str]) -> AliasChange | None:
    """The promotion or rollback that made the present champion; None if the gate did, or it is not in the history."""
    changes = [change for change in history if change.kind != "challenge"]
    last = changes[-1] if changes else None
    manual = last is not None and last.kind in MANUAL_KINDS and last.champion == aliases.get(CHAMPION)
    return last if manual else None


def changed_outside(history: tuple[AliasChange, ...], aliases: Mapping[str, str]) -> bool:
    """Whether the champion was set without this program, for example in MLflow's pages."""
    return bool(history) and CHAMPION in aliases and history[-1].champion != aliases[CHAMPION]


def plan_change(
    history: tuple[AliasChange, ...], aliases: Mapping[str, str], newest_version: int, by: str, reason: str
) -> AliasChange:
    """The next change, without effect yet; `with_champion`, `with_challenger` and `with_rollback` give it one."""
    champion = aliases.get(CHAMPION, "")
    return AliasChange(
        number=1 + max((change.number for change in history), default=0),
        kind="register",
        before=champion,
        champion=champion,
        challenger=aliases.get(CHALLENGER, ""),
        earlier_champions=read_earlier_champions(history, aliases),
        newest_version=newest_version,
        at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        by=by,
        reason=reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]} ...",
    )


def with_champion(
    change: AliasChange, version: str, kind: Literal["register", "promote"], forced: bool = False
) -> AliasChange:
    """A version becomes champion; the one before joins the earlier champions, and the challenger alias is freed."""
    others = [number for number in change.earlier_champions if number != version]
    earlier = tuple([*others, *([change.before] if change.before else [])][-MAX_EARLIER:])
    challenger = "" if change.challenger == version else change.challenger
    return replace(change, kind=kind, champion=version, challenger=challenger, earlier_champions=earlier, forced=forced)


def with_challenger(change: AliasChange, version: str) -> AliasChange:
    """A version that the gate refused becomes challenger."""
    return replace(change, kind="challenge", challenger=version)


def with_rollback(change: AliasChange, version: str, forced: bool = False) -> AliasChange:
    """An earlier champion becomes champion again; it and those after it leave the earlier champions."""
    champions = change.earlier_champions
    earlier = champions[: champions.index(version)] if version in champions else ()
    return replace(change, kind="rollback", champion=version, earlier_champions=earlier, forced=forced)


def apply_change(client: MlflowClient, name: str, change: AliasChange, lock: HeldLock) -> None:
    """Write a change to the store.

    Args:
        client: of the store.
        name: of the registered model.
        change: planned against the present champion.
        lock: held by the caller.

    Raises:
        ConcurrentChange: the champion is another one than when the change was planned, or the lock was lost.
    """
    recover(client, name)
    champion = str(client.get_registered_model(name).aliases.get(CHAMPION, ""))
    if champion != change.before:
        raise ConcurrentChange(
            f"the champion is version {champion or 'none'}, and was {change.before or 'none'} when this was decided",
            "see which version serves now (`deepfake runs`), and repeat the command",
        )
    client.set_registered_model_tag(name, PENDING_TAG, change.to_json())
    lock.check()
    _complete(client, name, change)


def recover(client: MlflowClient, name: str) -> None:
    """Complete the pending change of a crashed process if its decisive alias is set, else discard it.

    The caller holds the lock.
    """
    model = client.get_registered_model(name)
    if PENDING_TAG not in model.tags:
        return
    pending = parse_change(model.tags[PENDING_TAG])
    if pending.is_made({alias: str(number) for alias, number in model.aliases.items()}):
        _complete(client, name, pending)
    else:
        client.delete_registered_model_tag(name, PENDING_TAG)


def describe_registry(history: tuple[AliasChange, ...], aliases: Mapping[str, str]) -> str:
    """Markdown for the page of the registered model: the aliases, and the latest changes as a table, newest first."""
    names = [f"**{alias}** version {aliases[alias]}" for alias in (CHAMPION, PREVIOUS, CHALLENGER) if alias in aliases]
    rows = [
        f"| {change.at} | {change.outcome} | {_cell(change.author)} | {_cell(change.reason)} |"
        for change in reversed(history[-MAX_DESCRIBED:])
    ]
    table = ["| time (UTC) | change | by | reason |", "|---|---|---|---|", *rows]
    return "\n".join([MODEL_SUMMARY, "", ", ".join(names) or "No aliases yet.", "", *table])


def _cell(text: str) -> str:
    text = text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]} ..."
    return " ".join(text.replace("|", "\\|").split())


def _complete(client: MlflowClient, name: str, change: AliasChange) -> None:
    """Set all aliases in order, then the history; every step can be repeated."""
    for alias, number in change.aliases.items():
        if number:
            client.set_registered_model_alias(name, alias, number)
        else:
            client.delete_registered_model_alias(name, alias)
    client.set_registered_model_tag(name, change.tag, change.to_json())
    client.delete_registered_model_tag(name, PENDING_TAG)
    model = client.get_registered_model(name)
    aliases = {alias: str(number) for alias, number in model.aliases.items()}
    client.update_registered_model(name, describe_registry(read_history(model.tags), aliases))
