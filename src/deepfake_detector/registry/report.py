"""Shelf and candidate -> the champion in its folder, and what reports/register.json says about both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deepfake_detector.errors import ModelNotFound
from deepfake_detector.io import write_json
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.paths import Workspace
from deepfake_detector.registry.alias_history import CHAMPION, hand
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.decisions import find_version, read_decision
from deepfake_detector.registry.export import export_bundle
from deepfake_detector.registry.model_registry import Shelf, Version

LAST_MOVES = 10  # that a report tells; the store remembers all


def export_champion(shelf: Shelf, candidate: Candidate, to: Path) -> Bundle:
    """Put the champion's bundle at `to`, where `package` and `deepfake predict` look for it.

    Raises:
        ModelNotFound: there is no champion, because the first candidate was refused.
        BundleCorrupt: the store's copy is not what was registered.
        BundleOutdated: it is, but this code does not read it.
    """
    champion = shelf.at(CHAMPION)
    if champion is None:
        reasons = read_decision(find_version(shelf, candidate)).get("reasons", ())
        refused = "; ".join(reason for reason in reasons if reason.startswith("refused")) or "; ".join(reasons)
        raise ModelNotFound(
            f"no champion yet, and {candidate.name} does not become one: {refused}",
            "train longer or on more data (params.yaml `train`, `download`), or lower what `register` asks for",
        )
    return export_bundle(champion, to)


def summary(shelf: Shelf, candidate: Candidate, champion: Bundle, root: Path) -> dict[str, Any]:
    """The stage's report; the same registry and candidate give the same report, however often it runs."""
    version = find_version(shelf, candidate)
    decision = read_decision(version)
    return {
        "candidate": _entry(version),
        "decision": {key: decision[key] for key in ("promoted", "reasons", "figures") if key in decision},
    } | standing(shelf, champion, root)


def standing(shelf: Shelf, champion: Bundle, root: Path) -> dict[str, Any]:
    """Who serves, how they came to, and who did before: what `promote` and `rollback` change of the report."""
    chosen = hand(shelf.moves, shelf.aliases)
    return {
        "champion": _entry(shelf.at(CHAMPION)) | {"bundle": champion.path.relative_to(root).as_posix()},
        "aliases": dict(shelf.aliases),
        "chosen_by_hand": str(chosen) if chosen else "",
        "moves": [str(move) for move in shelf.moves[-LAST_MOVES:]],
    }


def hand_over(shelf: Shelf, workspace: Workspace) -> str:
    """Put a champion that a person chose where the register stage would, so that `package` finds it; what to say of it.

    Raises:
        ModelNotFound: there is no champion.
        BundleCorrupt: the store's copy is not what was registered.
    """
    champion = shelf.at(CHAMPION)
    if champion is None:
        raise ModelNotFound("no champion", "`deepfake promote VERSION --why ...` makes one")
    bundle = export_bundle(champion, workspace.champion)
    report = workspace.report("register")
    before = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
    write_json(report, before | standing(shelf, bundle, workspace.root))
    return f"{shelf.moves[-1]}\nnext: `dvc repro package` builds its bento; docs/rolling-restart.md"


def _entry(version: Version | None) -> dict[str, str]:
    if version is None:
        return {}
    digests = {key: version.tags.get(key, "") for key in ("bundle_sha256", "weights_sha256")}
    return {"version": version.number, "run_id": version.run_id} | digests
