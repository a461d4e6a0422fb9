"""Candidate, champion and earlier decision -> the gate's decision, stored as the tag `decision` of the version."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from deepfake_detector.config import Register
from deepfake_detector.errors import BundleOutdated, DetectorError
from deepfake_detector.evaluation.prediction_table import PredictionTable, read_predictions
from deepfake_detector.model.bundle import SEAL, Bundle
from deepfake_detector.registry.alias_history import CHAMPION
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.export import fetch_bundle
from deepfake_detector.registry.gate import Decision, Finding, decide
from deepfake_detector.registry.logged_models import MODEL_FILE
from deepfake_detector.registry.model_facts import EvaluatedModel, facts_from_tag
from deepfake_detector.registry.model_registry import ModelVersion, RegistrySnapshot
from deepfake_detector.tracking.store import fetch_artifact, local_folder, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

DECISION_TAG, FACTS_TAG = "decision", "facts"
NAMES = ("experiment", "model_name")  # settings that are no rules
REFUSED = "refused: "  # how older versions marked a failed finding, which they stored as text only
UNKNOWN = "unknown"  # code of a finding that was stored as text only


class Rescorer(Protocol):
    """Measures bundles on the test pictures of this checkout; the registry itself imports neither engine nor data."""

    def latency_ms(self, bundle: Bundle) -> float:
        """Processor time for one crop.

        Raises:
            DetectorError: the engine cannot run the bundle.
        """

    def scores(self, bundle: Bundle) -> PredictionTable:
        """Predictions on the test pictures.

        Raises:
            DetectorError: there are no test pictures, or the bundle cannot be run on them.
        """


@dataclass(frozen=True)
class StoredDecision:
    """A decision on one version, and what it was based on.

    Attributes:
        promoted: whether the version was to become champion.
        findings: all findings, in the order of the checks.
        against: bundle digest of the champion it was compared with; "" if there was none.
        rules: the settings in one line; under other rules the decision is made again.
        done: whether the aliases were changed accordingly.
    """

    promoted: bool
    findings: tuple[Finding, ...]
    against: str
    rules: str
    done: bool = False

    @property
    def summary(self) -> str:
        """The findings that decided: those that failed, or the comparison of AUCs that let it pass."""
        failed = [finding for finding in self.findings if not finding.passed]
        if not self.promoted:
            return "; ".join(str(finding) for finding in failed or self.findings)
        return str(next((finding for finding in self.findings if finding.code == "auc"), self.findings[-1]))

    @property
    def rests_on_latency(self) -> bool:
        """Whether the latency alone refused the version: another measurement may give another decision."""
        return {finding.code for finding in self.findings if not finding.passed} == {"latency"}

    @property
    def reasons(self) -> list[str]:
        """Every finding as text."""
        return [str(finding) for finding in self.findings]

    def to_json(self) -> str:
        """Value of the tag; older versions of this program read `reasons` in place of `findings`."""
        return json.dumps(asdict(self) | {"reasons": self.reasons}, sort_keys=True)


def parse_decision(tag: str) -> StoredDecision:
    """Read a `decision` tag; one of an older version holds its findings as `reasons`, texts without code."""
    content: dict[str, Any] = json.loads(tag)
    reasons: list[str] = content.get("reasons", [])
    findings = (
        (Finding(**finding) for finding in content["findings"])
        if "findings" in content
        else (_parse_reason(reason) for reason in reasons)
    )
    fields = {name: content[name] for name in ("promoted", "against", "rules", "done")}
    return StoredDecision(findings=tuple(findings), **fields)


def _parse_reason(reason: str) -> Finding:
    text = reason.removeprefix(REFUSED)
    return Finding("auc" if text.startswith("AUC ") else UNKNOWN, text == reason, text)


def read_decision(version: ModelVersion | None) -> StoredDecision | None:
    """The decision on a version; None if there is none yet."""
    tag = version.tags.get(DECISION_TAG) if version else None
    return parse_decision(tag) if tag else None


def write_decision(client: MlflowClient, name: str, version: ModelVersion, decision: StoredDecision) -> None:
    """Store a decision as a tag of its version."""
    client.set_model_version_tag(name, version.number, DECISION_TAG, decision.to_json())


def find_version(snapshot: RegistrySnapshot, candidate: Candidate) -> ModelVersion | None:
    """The version that has the candidate's weights and bundle."""
    return snapshot.find(weights_sha256=candidate.weights_sha256, bundle_sha256=candidate.bundle.sha256)


def is_settled(snapshot: RegistrySnapshot, candidate: Candidate, settings: Register) -> bool:
    """Whether this candidate needs no registration, decision or change of aliases.

    A manually chosen champion stays until a newer version is registered: versions that existed then are not decided on
    again. A version that only the latency refused is measured again.
    """
    version, champion = find_version(snapshot, candidate), snapshot.version_of(CHAMPION)
    decision = read_decision(version)
    if version is None or decision is None or not decision.done or not _has_files(version):
        return False
    if champion is not None and champion.number == version.number:
        return True
    if int(version.number) <= snapshot.newest_at_manual_change:
        return True
    # A version that was promoted and is not the champion any more was replaced since; it may be compared again.
    return not decision.promoted and _still_applies(decision, champion, settings)


def reusable_decision(snapshot: RegistrySnapshot, version: ModelVersion, settings: Register) -> StoredDecision | None:
    """A stored decision that need not be made again; None if it must be.

    Reusable are the decision that made the present champion, and one that an interrupted run stored but did not apply,
    if rules and champion are still the same.
    """
    decision, champion = read_decision(version), snapshot.version_of(CHAMPION)
    if champion is not None and champion.number == version.number:
        return decision
    pending = decision is not None and not decision.done
    return decision if pending and _still_applies(decision, champion, settings) else None


def current_decision(snapshot: RegistrySnapshot, version: ModelVersion, settings: Register) -> StoredDecision | None:
    """The stored decision if it was made under these rules against the present champion; else None."""
    decision = read_decision(version)
    return decision if _still_applies(decision, snapshot.version_of(CHAMPION), settings) else None


def make_decision(
    candidate: EvaluatedModel, bundle: Bundle, champion: ModelVersion | None, settings: Register, rescorer: Rescorer
) -> StoredDecision:
    """Run the gate on a candidate.

    The champion's predictions come from the store; where they are on other test pictures, it is scored again.

    Args:
        candidate: facts and predictions.
        bundle: the candidate's.
        champion: the version that serves; None if there is none.
        settings: params.yaml's `register`.
        rescorer: measures latency, and scores bundles on the test pictures of this checkout.
    """
    timed, against = _with_latency(candidate, bundle, rescorer), _bundle_of(champion)
    if champion is None:
        return _to_store(decide(timed, None, settings), against, settings)
    try:
        with fetch_bundle(champion) as champion_bundle:
            rival = evaluated_version(champion, champion_bundle)
            ours, theirs, notes = _on_same_pictures(timed, bundle, rival, champion_bundle, rescorer)
    except BundleOutdated:
        text = f"version {champion.number}, the champion, has a bundle format that this version cannot serve"
        return _to_store(decide(timed, None, settings, text), against, settings)
    return _to_store(decide(ours, theirs, settings), against, settings, notes)


def evaluated_version(version: ModelVersion, bundle: Bundle) -> EvaluatedModel:
    """Facts and predictions of a registered version, from the store."""
    with fetch_artifact(version.tags["predictions_uri"]) as predictions:
        thresholds = bundle.contract.thresholds
        scores = read_predictions(predictions, version.tags["test_digest"], thresholds.flag, thresholds.clear)
    return EvaluatedModel(facts_from_tag(version.tags.get(FACTS_TAG), bundle), scores)


def rules_text(settings: Register) -> str:
    """The rules in one line, to compare them."""
    return " ".join(f"{name}={value}" for name, value in asdict(settings).items() if name not in NAMES)


def _still_applies(decision: StoredDecision | None, champion: ModelVersion | None, settings: Register) -> bool:
    basis = _bundle_of(champion), rules_text(settings)
    return decision is not None and not decision.rests_on_latency and (decision.against, decision.rules) == basis


def _bundle_of(version: ModelVersion | None) -> str:
    return version.tags.get("bundle_sha256", "") if version else ""


def _with_latency(candidate: EvaluatedModel, bundle: Bundle, rescorer: Rescorer) -> EvaluatedModel:
    try:
        facts = replace(candidate.facts, latency_ms=rescorer.latency_ms(bundle))
    except DetectorError as error:
        facts = replace(candidate.facts, engine_error=error.message)
    return EvaluatedModel(facts, candidate.scores)


def _on_same_pictures(
    ours: EvaluatedModel, bundle: Bundle, theirs: EvaluatedModel, their_bundle: Bundle, rescorer: Rescorer
) -> tuple[EvaluatedModel, EvaluatedModel, tuple[Finding, ...]]:
    """Score models again whose test pictures differ; if that fails, return both as they are, with the reason."""
    if ours.scores.test_digest == theirs.scores.test_digest:
        return ours, theirs, ()
    try:
        rival = EvaluatedModel(theirs.facts, rescorer.scores(their_bundle))
        if rival.scores.test_digest != ours.scores.test_digest:
            ours = EvaluatedModel(ours.facts, rescorer.scores(bundle))
    except DetectorError as error:
        return ours, theirs, (Finding("rescoring", True, f"could not be scored again: {error.message}"),)
    text = "the champion was evaluated on other test pictures, and was scored again on these"
    return ours, rival, (Finding("rescoring", True, text),)


def _to_store(decision: Decision, against: str, settings: Register, notes: tuple[Finding, ...] = ()) -> StoredDecision:
    return StoredDecision(decision.promoted, (*decision.findings, *notes), against, rules_text(settings))


def _has_files(version: ModelVersion) -> bool:
    """Whether a local store still holds the version's files; a server is not asked."""
    for tag, file in (("bundle_uri", SEAL), ("model_uri", MODEL_FILE), ("keras_uri", MODEL_FILE)):
        folder = local_folder(version.tags.get(tag, ""), tracking_uri())
        if folder is not None and not (folder / file).is_file():
            return False
    return True
