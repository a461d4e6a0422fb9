"""Candidate, champion and what was decided before -> the decision, kept as a tag of the candidate's version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Protocol

from deepfake_detector.config import Register
from deepfake_detector.errors import BundleOutdated, DetectorError
from deepfake_detector.evaluation.prediction_table import Scores, read_scores
from deepfake_detector.model.bundle import SEAL, Bundle
from deepfake_detector.registry.alias_history import CHAMPION
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.export import fetch_bundle
from deepfake_detector.registry.gate import Decision, Judged, decide, read_facts
from deepfake_detector.registry.model_registry import Shelf, Version
from deepfake_detector.registry.record import MODEL_FILE
from deepfake_detector.tracking.store import fetch, local_folder, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAMES = ("experiment", "model_name")  # of the settings; all others are rules


class Judge(Protocol):
    """What only the caller can do: the registry knows neither the engine nor the pictures."""

    def latency_ms(self, bundle: Bundle) -> float:
        """How long one crop takes.

        Raises:
            DetectorError: the engine cannot use the bundle.
        """

    def scores(self, bundle: Bundle) -> Scores:
        """Scores of the test pictures at hand.

        Raises:
            DetectorError: there are none, or the bundle cannot be used on them.
        """


def find_version(shelf: Shelf, candidate: Candidate) -> Version | None:
    """The version of these very weights in this very bundle."""
    return shelf.find(weights_sha256=candidate.weights_sha256, bundle_sha256=candidate.bundle.sha256)


def is_settled(shelf: Shelf, candidate: Candidate, settings: Register) -> bool:
    """Whether there is nothing left to do for this candidate, under these rules, against the present champion.

    A champion chosen by a person stays until a newer version comes: what was there when they chose is not asked again.
    """
    version, champion = find_version(shelf, candidate), shelf.at(CHAMPION)
    decision = read_decision(version)
    if version is None or not decision.get("done") or not _is_whole(version):
        return False
    if champion is not None and champion.number == version.number:
        return True
    if int(version.number) <= shelf.chosen_among:
        return True
    against = champion.tags.get("bundle_sha256", "") if champion else ""
    # A version that was promoted and is not the champion any more lost the place since; it may ask again.
    return not decision["promoted"] and (decision["against"], decision["rules"]) == (against, rules_of(settings))


def read_decision(version: Version | None) -> dict[str, Any]:
    """What was decided about a version: `promoted`, `reasons`, `figures`, `against`, `rules`, `done`; or nothing."""
    decision: dict[str, Any] = json.loads(version.tags.get("decision", "{}")) if version else {}
    return decision


def standing_decision(shelf: Shelf, version: Version, settings: Register) -> dict[str, Any]:
    """A decision that need not be taken again, or nothing.

    That is the one that made the present champion, and one that a kill left taken but not carried out, if nobody moved
    the champion meanwhile.
    """
    decision, champion = read_decision(version), shelf.at(CHAMPION)
    if champion is not None and champion.number == version.number:
        return decision
    against = champion.tags.get("bundle_sha256", "") if champion else ""
    pending = bool(decision) and not decision["done"] and decision["rules"] == rules_of(settings)
    return decision if pending and decision["against"] == against else {}


def take_decision(candidate: Judged, bundle: Bundle, champion: Version | None, settings: Register, judge: Judge) \
        -> dict[str, Any]:  # fmt: skip
    """Ask the gate, with scores of the champion from the store, or anew where it was judged on other pictures.

    Args:
        candidate: who asks.
        bundle: the candidate's.
        champion: who serves; None if nobody does.
        settings: the rules.
        judge: measures time, and scores bundles on the test pictures at hand.
    """
    timed = _timed(candidate, bundle, judge)
    if champion is None:
        return _kept(decide(timed, None, settings), "", settings)
    against = champion.tags.get("bundle_sha256", "")
    try:
        with fetch_bundle(champion) as rival_bundle:
            rival = judged_version(champion, rival_bundle)
            ours, theirs, note = _on_same_pictures(timed, bundle, rival, rival_bundle, judge)
    except BundleOutdated:
        words = f"version {champion.number}, the champion, is of a format that this code cannot serve any more"
        return _kept(decide(timed, None, settings, words), against, settings)
    return _kept(decide(ours, theirs, settings), against, settings, note)


def _timed(candidate: Judged, bundle: Bundle, judge: Judge) -> Judged:
    try:
        return Judged(replace(candidate.facts, latency_ms=judge.latency_ms(bundle)), candidate.scores)
    except DetectorError as error:
        return Judged(replace(candidate.facts, trouble=error.message), candidate.scores)


def judged_version(version: Version, bundle: Bundle) -> Judged:
    """A registered version as the gate sees it, from what the store keeps."""
    with fetch(version.tags["predictions_uri"]) as predictions:
        scores = read_scores(predictions, version.tags["test_digest"], bundle.contract.thresholds.flag)
    return Judged(read_facts(version.tags.get("facts"), bundle), scores)


def write_decision(client: MlflowClient, name: str, version: Version, decision: Mapping[str, Any]) -> None:
    """Keep a decision as a tag of the version it is about."""
    client.set_model_version_tag(name, version.number, "decision", json.dumps(decision, sort_keys=True))


def rules_of(settings: Register) -> str:
    """The rules in one line: under others, a decision is taken anew."""
    return " ".join(f"{name}={value}" for name, value in asdict(settings).items() if name not in NAMES)


def _on_same_pictures(
    ours: Judged, bundle: Bundle, theirs: Judged, their_bundle: Bundle, judge: Judge
) -> tuple[Judged, Judged, str]:
    """Both on the pictures at hand, if they were judged on different ones; as they are, and why, if that fails."""
    if ours.scores.test_digest == theirs.scores.test_digest:
        return ours, theirs, ""
    try:
        rival = Judged(theirs.facts, judge.scores(their_bundle))
        if rival.scores.test_digest != ours.scores.test_digest:
            ours = Judged(ours.facts, judge.scores(bundle))
    except DetectorError as error:
        return ours, theirs, f"not scored anew: {error.message}"
    return ours, rival, "the champion was judged on other test pictures, and was scored anew on these"


def _kept(decision: Decision, against: str, settings: Register, note: str = "") -> dict[str, Any]:
    return {
        "promoted": decision.promote,
        "reasons": [*decision.reasons, *([note] if note else [])],
        "figures": decision.figures,
        "against": against,
        "rules": rules_of(settings),
        "done": False,
    }


def _is_whole(version: Version) -> bool:
    """Whether a local store still has the files; a server is believed."""
    for tag, file in (("bundle_uri", SEAL), ("model_uri", MODEL_FILE)):
        folder = local_folder(version.tags.get(tag, ""), tracking_uri())
        if folder is not None and not (folder / file).is_file():
            return False
    return True
