"""The registry as it was + who wants what and why -> one move of the aliases; the history of all moves. Pure.

A move is written as one tag before it is carried out, and as another when it is done: see aliases.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from deepfake_detector.errors import Overtaken
from deepfake_detector.registry.lock import Held

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
DONE = "move:"  # and a number: tags of the registered model
UNDERWAY = "moving"
MAX_WHY, MAX_LINE = 1500, 50  # a tag holds 5000 characters on a real database
Kind = Literal["register", "challenge", "promote", "rollback"]
BY_HAND: tuple[Kind, ...] = ("promote", "rollback")


@dataclass(frozen=True)
class Move:
    """One change of who serves; version numbers as text, "" for none.

    Attributes:
        number: 1 for the first.
        kind: register and challenge are the gate's; promote and rollback a person's.
        before: champion until then.
        champion: champion from then on.
        challenger: challenger from then on.
        line: earlier champions, the latest last; `rollback` goes back along it, so twice goes back two.
        known: highest version number of that time; what was there already does not undo a person's choice.
        at: when, UTC.
        by: who.
        why: reason in words.
        forced: whether the gate was overruled.
    """

    number: int
    kind: Kind
    before: str
    champion: str
    challenger: str
    line: tuple[str, ...]
    known: int
    at: str
    by: str
    why: str
    forced: bool = False

    @property
    def aliases(self) -> dict[str, str]:
        """Alias -> version when it is done; the first one that changes is the deed, all others follow from it."""
        wanted = {CHAMPION: self.champion, PREVIOUS: self.line[-1] if self.line else "", CHALLENGER: self.challenger}
        return wanted if self.kind != "challenge" else {CHALLENGER: self.challenger} | wanted

    @property
    def tag(self) -> str:
        """Key under which it is kept."""
        return f"{DONE}{self.number:04d}"

    def as_json(self) -> str:
        """Value of the tag."""
        return json.dumps(asdict(self), sort_keys=True)

    def happened(self, aliases: Mapping[str, str]) -> bool:
        """Whether its deed is done, by what the store's aliases say."""
        deed, version = next(iter(self.aliases.items()))
        return aliases.get(deed, "") == version

    def __str__(self) -> str:
        verbs = {
            "register": "took over from",
            "challenge": "challenges",
            "promote": "was promoted over",
            "rollback": "came back for",
        }
        who = self.challenger if self.kind == "challenge" else self.champion
        whom = self.champion if self.kind == "challenge" else self.before
        alone = "asked to be the first champion" if self.kind == "challenge" else "became the first champion"
        words = f"{verbs[self.kind]} {whom}" if whom else alone
        return f"{self.at} version {who} {words}, by {self.by}{' (forced)' if self.forced else ''}: {self.why}"


def read_move(value: str) -> Move:
    """The reverse of `as_json`."""
    content: dict[str, Any] = json.loads(value)
    return Move(**(content | {"line": tuple(content["line"])}))


def history(tags: Mapping[str, str]) -> tuple[Move, ...]:
    """All moves that a registered model remembers, oldest first."""
    return tuple(read_move(tags[key]) for key in sorted(tags) if key.startswith(DONE))


def seen(tags: Mapping[str, str], aliases: Mapping[str, str]) -> tuple[tuple[Move, ...], dict[str, str]]:
    """History and aliases as they are, or will be once a move is finished whose deed is done: never half of one."""
    done = history(tags)
    move = read_move(tags[UNDERWAY]) if UNDERWAY in tags else None
    if move is None or not move.happened(aliases):
        return done, dict(aliases)
    kept = {alias: number for alias, number in aliases.items() if alias not in move.aliases}
    moved = {alias: number for alias, number in move.aliases.items() if number}
    return (*(m for m in done if m.number != move.number), move), kept | moved


def line_of(moves: tuple[Move, ...], aliases: Mapping[str, str]) -> tuple[str, ...]:
    """Champions before the present one. Of a champion set in MLflow's pages nothing is known but `previous`."""
    if moves and moves[-1].champion == aliases.get(CHAMPION, ""):
        return moves[-1].line
    return tuple(number for number in [aliases.get(PREVIOUS)] if number)


def hand(moves: tuple[Move, ...], aliases: Mapping[str, str]) -> Move | None:
    """The move by which a person chose the present champion; None if the gate did, or nobody knows who."""
    found = [m for m in moves if m.kind != "challenge"]
    last = found[-1] if found else None
    return last if last is not None and last.kind in BY_HAND and last.champion == aliases.get(CHAMPION) else None


def moved_outside(moves: tuple[Move, ...], aliases: Mapping[str, str]) -> bool:
    """Whether somebody set the champion past this program, for example in MLflow's pages."""
    return bool(moves) and CHAMPION in aliases and moves[-1].champion != aliases[CHAMPION]


def next_move(moves: tuple[Move, ...], aliases: Mapping[str, str], known: int, by: str, why: str) -> Move:
    """A move that changes nothing yet; `promoted`, `challenging` and `rolled_back` say what it does."""
    champion = aliases.get(CHAMPION, "")
    return Move(
        number=1 + max((m.number for m in moves), default=0),
        kind="register",
        before=champion,
        champion=champion,
        challenger=aliases.get(CHALLENGER, ""),
        line=line_of(moves, aliases),
        known=known,
        at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        by=by,
        why=why if len(why) <= MAX_WHY else f"{why[:MAX_WHY]} ...",
    )


def promoted(move: Move, version: str, kind: Literal["register", "promote"], forced: bool = False) -> Move:
    """A version takes over; who served is remembered, and a challenger that won is challenger no more."""
    line = (*(n for n in move.line if n != version), *([move.before] if move.before else []))[-MAX_LINE:]
    challenger = "" if move.challenger == version else move.challenger
    return replace(move, kind=kind, champion=version, challenger=challenger, line=line, forced=forced)


def challenging(move: Move, version: str) -> Move:
    """A version that was refused is kept in view."""
    return replace(move, kind="challenge", challenger=version)


def rolled_back(move: Move, version: str, forced: bool = False) -> Move:
    """An earlier champion comes back; those after it in the line are behind it no more."""
    line = move.line[: move.line.index(version)] if version in move.line else ()
    return replace(move, kind="rollback", champion=version, line=line, forced=forced)


def carry_out(client: MlflowClient, name: str, move: Move, held: Held) -> None:
    """Do it; the caller holds the lock.

    Raises:
        Overtaken: the champion is not the one that the move was planned against, or the lock was lost.
    """
    recover(client, name)
    champion = client.get_registered_model(name).aliases.get(CHAMPION, "")
    if str(champion) != move.before:
        raise Overtaken(
            f"the champion is version {champion or 'none'}, and was {move.before or 'none'} when this was decided",
            "look who serves now (`deepfake runs`), and ask again",
        )
    client.set_registered_model_tag(name, UNDERWAY, move.as_json())
    held.check()
    _finish(client, name, move)


def recover(client: MlflowClient, name: str) -> None:
    """Finish, or strike out, a move that a crash left underway; the caller holds the lock."""
    model = client.get_registered_model(name)
    if UNDERWAY not in model.tags:
        return
    move = read_move(model.tags[UNDERWAY])
    if move.happened({alias: str(number) for alias, number in model.aliases.items()}):
        _finish(client, name, move)
    else:
        client.delete_registered_model_tag(name, UNDERWAY)


def _finish(client: MlflowClient, name: str, move: Move) -> None:
    """All of it, in order; every step may be done twice."""
    for alias, number in move.aliases.items():
        if number:
            client.set_registered_model_alias(name, alias, number)
        else:
            client.delete_registered_model_alias(name, alias)
    client.set_registered_model_tag(name, move.tag, move.as_json())
    client.delete_registered_model_tag(name, UNDERWAY)
