"""Recorded candidate -> a version of the registered model, and the aliases champion, previous, challenger.

Every step can be repeated: the same weights in the same bundle are the same version, and a decision is stored before it
is applied, so the next run completes an interrupted one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from deepfake_detector.config import Register
from deepfake_detector.errors import ConcurrentChange, ToolFailed
from deepfake_detector.registry.alias_history import (
    CHALLENGER,
    CHAMPION,
    MODEL_SUMMARY,
    AliasChange,
    apply_change,
    plan_change,
    recover,
    with_challenger,
    with_champion,
)
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.decisions import (
    FACTS_TAG,
    Rescorer,
    StoredDecision,
    find_version,
    make_decision,
    reusable_decision,
    write_decision,
)
from deepfake_detector.registry.lock import registry_lock
from deepfake_detector.registry.model_registry import ModelVersion, RegistrySnapshot, read_registry
from deepfake_detector.registry.record import RecordedRun
from deepfake_detector.tracking.lineage import actor
from deepfake_detector.tracking.runs import RESTORED_TAG
from deepfake_detector.tracking.store import open_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

CODE_TAGS = ("git_", "version:", "params_sha256", "mlflow.source.git.", "actor")  # prefixes; other tags describe data
MAX_DESCRIPTION = 5000  # characters in MLflow's table
ATTEMPTS = 3


def register_candidate(
    candidate: Candidate, recorded: RecordedRun, lineage: Mapping[str, str], settings: Register, rescorer: Rescorer
) -> RegistrySnapshot:
    """Make the candidate a version, decide whether it becomes champion, and change the aliases.

    Args:
        candidate: what was recorded.
        recorded: its place in MLflow.
        lineage: tags of the present code and data.
        settings: params.yaml's `register`.
        rescorer: measures latency, and scores bundles on the test pictures of this checkout.

    Raises:
        ConcurrentChange: the champion changed during every one of ATTEMPTS decisions.
    """
    client, name = open_client(), settings.model_name
    with registry_lock(client, name):
        _create_version(client, candidate, recorded, lineage, name)
        recover(client, name)
    for attempt in range(ATTEMPTS):
        try:
            _decide_and_apply(client, candidate, settings, rescorer)
            break
        except ConcurrentChange:  # the candidate was compared with another champion: compare again
            if attempt == ATTEMPTS - 1:
                raise
    return read_registry(name)


def _decide_and_apply(client: MlflowClient, candidate: Candidate, settings: Register, rescorer: Rescorer) -> None:
    name = settings.model_name
    snapshot = read_registry(name)
    version, champion = find_version(snapshot, candidate), snapshot.version_of(CHAMPION)
    if version is None:
        what = f"MLflow does not show the version just made of {candidate.name}"
        raise ToolFailed(what, "run `python -m pipelines.register`")
    decision = reusable_decision(snapshot, version, settings) or make_decision(
        candidate.evaluated, candidate.bundle, champion, settings, rescorer
    )
    write_decision(client, name, version, decision)
    change = _planned_change(snapshot, version, decision)
    if change is not None:
        with registry_lock(client, name) as lock:
            apply_change(client, name, change, lock)
    write_decision(client, name, version, replace(decision, done=True))


def _planned_change(snapshot: RegistrySnapshot, version: ModelVersion, decision: StoredDecision) -> AliasChange | None:
    """The change that follows from a decision; None if the aliases are right already."""
    alias = CHAMPION if decision.promoted else CHALLENGER
    if version.number in (snapshot.aliases.get(CHAMPION), snapshot.aliases.get(alias)):
        return None
    by = f"the gate, run by {actor()}"
    change = plan_change(snapshot.history, snapshot.aliases, snapshot.newest, by, decision.summary)
    if decision.promoted:
        return with_champion(change, version.number, "register")
    return with_challenger(change, version.number)


def _create_version(
    client: MlflowClient, candidate: Candidate, recorded: RecordedRun, lineage: Mapping[str, str], name: str
) -> None:
    from mlflow.exceptions import MlflowException

    if find_version(read_registry(name), candidate) is not None:
        return
    try:
        client.create_registered_model(name, description=MODEL_SUMMARY)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    addresses = {
        "model_uri": recorded.model_uri,
        "keras_uri": recorded.keras_uri,
        "bundle_uri": recorded.bundle_uri,
        "predictions_uri": recorded.predictions_uri,
        "lineage_path": recorded.lineage_path,
    }
    metrics = {key: f"{candidate.metrics[key]:.6f}" for key in ("test_accuracy", "test_auc")}
    origin = _lineage_of_training(client.get_run(recorded.run_id).data.tags, lineage)
    run = {RESTORED_TAG: "true"} if recorded.restored else {"trained_by_run": recorded.run_id}
    tags = origin | candidate.tags | metrics | addresses | run
    client.create_model_version(
        name,
        source=f"models:/{recorded.model_id}",
        run_id=recorded.run_id,
        tags=tags | {FACTS_TAG: candidate.facts.to_json()},
        description=_description(candidate, tags),
        model_id=recorded.model_id,
    )


def _lineage_of_training(run_tags: Mapping[str, str], present: Mapping[str, str]) -> dict[str, str]:
    """Tags of the code from the training's run, all or none of them; tags of the data as DVC has it now."""
    code = {key: value for key, value in run_tags.items() if key.startswith(CODE_TAGS)}
    if "git_commit" not in code:
        return dict(present)
    return code | {key: value for key, value in present.items() if not key.startswith(CODE_TAGS)}


def _description(candidate: Candidate, tags: Mapping[str, str]) -> str:
    names = ("git_commit", "git_dirty", "source", "dvc_lock_sha256", "params_sha256", "weights_sha256", "bundle_sha256")
    rows = [f"- {name}: `{tags[name]}`" for name in (*names, "actor", "trained_by_run") if name in tags]
    rows += [f"- {name}: `{value}`" for name, value in tags.items() if name.startswith("data_sha256:")]
    card = (candidate.bundle.path / "card.md").read_text(encoding="utf-8")
    text = "\n".join(["## Where it comes from", "", *rows, "", card])
    return text if len(text) <= MAX_DESCRIPTION else text[: MAX_DESCRIPTION - 25] + "\n... the rest: card.md"
