"""A person's word (version, why) -> another champion: promoted past or through the gate, or brought back."""

from __future__ import annotations

from typing import Any

from deepfake_detector.config import Register
from deepfake_detector.errors import BadInput, ModelNotFound, PromotionRefused
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.registry.alias_history import (
    CHAMPION,
    Move,
    carry_out,
    line_of,
    next_move,
    promoted,
    recover,
    rolled_back,
)
from deepfake_detector.registry.decisions import (
    Judge,
    judged_version,
    read_decision,
    rules_of,
    take_decision,
    write_decision,
)
from deepfake_detector.registry.export import fetch_bundle
from deepfake_detector.registry.gate import floors
from deepfake_detector.registry.lock import only_one
from deepfake_detector.registry.model_registry import Shelf, Version, read_shelf
from deepfake_detector.tracking.lineage import actor
from deepfake_detector.tracking.store import open_client

OVERRULE = "`--force` overrules the gate; your `--why` is kept"


def promote(wanted: str, why: str, force: bool, settings: Register, judge: Judge) -> Shelf:
    """Make a version champion, if the gate agrees or is overruled.

    Args:
        wanted: version number, with or without a v, or an alias such as `challenger`.
        why: reason, for the history.
        force: overrule the gate; a bundle that is not what was registered is refused all the same.
        settings: params.yaml's `register`.
        judge: measures time, and scores bundles on the test pictures at hand.

    Raises:
        BadInput: no reason, or it is the champion already.
        ModelNotFound: no such version.
        BundleCorrupt: its bundle is not what was registered, or this code cannot read it.
        PromotionRefused: the gate says no.
        Overtaken: somebody else was faster.
    """
    shelf = _looked_at(settings.model_name, why)
    version = _wanted(shelf, wanted)
    if shelf.aliases.get(CHAMPION) == version.number:
        raise BadInput(f"version {version.number} is the champion already", "`deepfake runs` shows who is who")
    with fetch_bundle(version) as bundle:
        decision = _decision(shelf, version, bundle, settings, judge)
    if not decision["promoted"] and not force:
        refused = [reason for reason in decision["reasons"] if reason.startswith("refused")] or decision["reasons"]
        raise PromotionRefused(f"version {version.number}: {'; '.join(refused)}", OVERRULE)
    move = next_move(shelf.moves, shelf.aliases, shelf.newest, actor(), why)
    forced = not decision["promoted"]
    return _carried_out(settings.model_name, promoted(move, version.number, "promote", forced))


def roll_back(why: str, force: bool, settings: Register) -> Shelf:
    """Bring the champion before the present one back; twice goes back two.

    It lost to its successor once, so it is not compared again; but it must reach the floors of today.

    Args:
        why: reason, for the history.
        force: overrule the floors.
        settings: params.yaml's `register`.

    Raises:
        BadInput: no reason.
        ModelNotFound: there was no champion before.
        BundleCorrupt: its bundle is not what was registered, or this code cannot read it.
        PromotionRefused: it misses a floor.
        Overtaken: somebody else was faster.
    """
    shelf = _looked_at(settings.model_name, why)
    numbers = {version.number: version for version in shelf.versions}
    back = [number for number in line_of(shelf.moves, shelf.aliases) if number in numbers]
    if not back:
        raise ModelNotFound(
            "no earlier champion to go back to", "`deepfake promote VERSION --why ...` takes any version"
        )
    version = numbers[back[-1]]
    with fetch_bundle(version) as bundle:
        missed = [f.words for f in floors(judged_version(version, bundle).facts, settings) if not f.passed]
    if missed and not force:
        raise PromotionRefused(f"version {version.number}, the champion before: {'; '.join(missed)}", OVERRULE)
    move = next_move(shelf.moves, shelf.aliases, shelf.newest, actor(), why)
    return _carried_out(settings.model_name, rolled_back(move, version.number, bool(missed)))


def _looked_at(name: str, why: str) -> Shelf:
    """The registry after whatever a crash left was finished."""
    if not why.strip():
        raise BadInput("no reason given", "say it with --why: the next person will want to know")
    if not read_shelf(name).versions:
        raise ModelNotFound(f"no registered model {name}", "run `make repro`, or set MLFLOW_TRACKING_URI")
    client = open_client()
    with only_one(client, name):
        recover(client, name)
    return read_shelf(name)


def _wanted(shelf: Shelf, wanted: str) -> Version:
    number = wanted.removeprefix("v")
    found = shelf.at(wanted) or next((v for v in shelf.versions if v.number == number), None)
    if found is None:
        there = ", ".join(v.number for v in shelf.versions)
        raise ModelNotFound(
            f"no version or alias {wanted!r}", f"there are versions {there}; `deepfake runs` shows them"
        )
    return found


def _decision(shelf: Shelf, version: Version, bundle: Bundle, settings: Register, judge: Judge) -> dict[str, Any]:
    """What stands, if it was decided against the present champion under these rules; else the gate is asked anew."""
    champion, decision = shelf.at(CHAMPION), read_decision(version)
    against = champion.tags.get("bundle_sha256", "") if champion else ""
    if decision and (decision["against"], decision["rules"]) == (against, rules_of(settings)):
        return decision
    decision = take_decision(judged_version(version, bundle), bundle, champion, settings, judge) | {"done": True}
    write_decision(open_client(), settings.model_name, version, decision)
    return decision


def _carried_out(name: str, move: Move) -> Shelf:
    client = open_client()
    with only_one(client, name) as held:
        carry_out(client, name, move, held)
    return read_shelf(name)
