"""Candidate, champion and what was decided before -> the decision, kept as a tag of the candidate's version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepfake_detector.model.bundle import SEAL
from deepfake_detector.registry.candidate import Candidate, read_scores
from deepfake_detector.registry.export import fetch_bundle
from deepfake_detector.registry.gate import Scores, decide
from deepfake_detector.registry.keras_model import MODEL_FILE
from deepfake_detector.registry.shelf import Shelf, Version
from deepfake_detector.registry.store import fetch, local_folder, tracking_uri
from deepfake_detector.settings import Register

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"


def find_version(shelf: Shelf, candidate: Candidate) -> Version | None:
    """The version of these very weights in this very bundle."""
    return shelf.find(weights_sha256=candidate.weights_sha256, bundle_sha256=candidate.bundle.sha256)


def is_settled(shelf: Shelf, candidate: Candidate, settings: Register) -> bool:
    """Whether there is nothing left to do for this candidate, under these rules, against the present champion.

    A champion chosen by hand (rollback) stays: the decision against it was taken before and is not taken again.
    """
    version, champion = find_version(shelf, candidate), shelf.at(CHAMPION)
    decision = read_decision(version)
    if version is None or not decision.get("done") or not _is_whole(version):
        return False
    if champion is None or champion.number == version.number:
        return champion is not None or decision["rules"] == _rules(settings)
    return bool(decision["against"] == champion.tags.get("bundle_sha256") and decision["rules"] == _rules(settings))


def read_decision(version: Version | None) -> dict[str, Any]:
    """What was decided about a version: `promoted`, `reasons`, `figures`, `against`, `rules`, `done`; or nothing."""
    decision: dict[str, Any] = json.loads(version.tags.get("decision", "{}")) if version else {}
    return decision


def standing_decision(version: Version, champion: Version | None, settings: Register) -> dict[str, Any]:
    """A decision that need not be taken again, or nothing.

    That is the one that made the present champion, and one that a kill left taken but not carried out.
    """
    decision = read_decision(version)
    is_champion = champion is not None and champion.number == version.number
    pending = bool(decision) and not decision["done"] and decision["rules"] == _rules(settings)
    return decision if is_champion or pending else {}


def take_decision(candidate: Candidate, champion: Version | None, settings: Register) -> dict[str, Any]:
    """Compare the candidate with the champion, whose scores come from the store."""
    rival = None if champion is None else _scores(champion)
    decision = decide(candidate.scores, rival, settings)
    return {
        "promoted": decision.promote,
        "reasons": list(decision.reasons),
        "figures": decision.figures,
        "against": rival.bundle_sha256 if rival else "",
        "rules": _rules(settings),
        "done": False,
    }


def _scores(version: Version) -> Scores:
    with fetch_bundle(version) as bundle, fetch(version.tags["predictions_uri"]) as predictions:
        return read_scores(predictions, version.tags["test_digest"], float(version.tags["test_accuracy"]), bundle)


def write_decision(client: MlflowClient, name: str, version: Version, decision: Mapping[str, Any]) -> None:
    """Keep a decision as a tag of the version it is about."""
    client.set_model_version_tag(name, version.number, "decision", json.dumps(decision, sort_keys=True))


def _rules(settings: Register) -> str:
    return f"min_accuracy={settings.min_accuracy:g} max_auc_loss={settings.max_auc_loss:g}"


def _is_whole(version: Version) -> bool:
    """Whether a local store still has the files; a server is believed."""
    for tag, file in (("bundle_uri", SEAL), ("model_uri", MODEL_FILE)):
        folder = local_folder(version.tags.get(tag, ""), tracking_uri())
        if folder is not None and not (folder / file).is_file():
            return False
    return True
