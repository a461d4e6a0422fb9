"""Recorded candidate -> a version of the registered model, and the aliases champion, previous, challenger.

Every step can be repeated: the same weights in the same bundle are the same version, and a decision is written on
the version before it is carried out, so that a kill in between is made good by the next run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepfake_detector.config import Register
from deepfake_detector.errors import Overtaken, ToolFailed
from deepfake_detector.registry.alias_history import (
    CHALLENGER,
    CHAMPION,
    Move,
    carry_out,
    challenging,
    next_move,
    promoted,
    recover,
)
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.decisions import (
    Judge,
    find_version,
    standing_decision,
    take_decision,
    write_decision,
)
from deepfake_detector.registry.lock import only_one
from deepfake_detector.registry.model_registry import Shelf, Version, read_shelf
from deepfake_detector.registry.record import Recorded
from deepfake_detector.tracking.lineage import actor
from deepfake_detector.tracking.store import open_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

CODE = ("git_", "version:", "params_sha256", "mlflow.source.git.", "actor")  # tags that speak of code, not data
MAX_DESCRIPTION = 5000  # characters that MLflow's table holds
ATTEMPTS = 3


def register(
    candidate: Candidate, recorded: Recorded, lineage: Mapping[str, str], settings: Register, judge: Judge
) -> Shelf:
    """Make the candidate a version, decide whether it becomes champion, and move the aliases.

    Args:
        candidate: what was recorded.
        recorded: where it lies in MLflow.
        lineage: tags that say where code and data stood.
        settings: params.yaml's `register`.
        judge: measures time, and scores bundles on the test pictures at hand.

    Raises:
        Overtaken: somebody moved the champion between every decision and its deed, several times.
    """
    client, name = open_client(), settings.model_name
    with only_one(client, name):
        _create(client, candidate, recorded, lineage, name)
        recover(client, name)
    for attempt in range(ATTEMPTS):
        try:
            _decide(client, candidate, settings, judge)
            break
        except Overtaken:  # the champion changed while this was compared with the old one: compare again
            if attempt == ATTEMPTS - 1:
                raise
    return read_shelf(name)


def _decide(client: MlflowClient, candidate: Candidate, settings: Register, judge: Judge) -> None:
    name = settings.model_name
    shelf = read_shelf(name)
    version, champion = find_version(shelf, candidate), shelf.at(CHAMPION)
    if version is None:
        raise ToolFailed(f"MLflow does not show the version just made of {candidate.name}", "run `dvc repro register`")
    decision = standing_decision(shelf, version, settings) or take_decision(
        candidate.judged, candidate.bundle, champion, settings, judge
    )
    write_decision(client, name, version, decision)
    move = _move(shelf, version, bool(decision["promoted"]), _in_short(decision))
    if move is not None:
        with only_one(client, name) as held:
            carry_out(client, name, move, held)
    write_decision(client, name, version, decision | {"done": True})


def _in_short(decision: Mapping[str, Any]) -> str:
    """What tipped the balance; the version keeps all reasons."""
    reasons: list[str] = decision["reasons"]
    if not decision["promoted"]:
        return "; ".join(reason for reason in reasons if reason.startswith("refused")) or "; ".join(reasons)
    return next((reason for reason in reasons if reason.startswith("AUC")), reasons[-1])


def _move(shelf: Shelf, version: Version, promote: bool, why: str) -> Move | None:
    """What follows from a decision; None if everything is as it should be."""
    stands_at = CHAMPION if promote else CHALLENGER
    if version.number in (shelf.aliases.get(CHAMPION), shelf.aliases.get(stands_at)):
        return None
    move = next_move(shelf.moves, shelf.aliases, shelf.newest, f"the gate, run by {actor()}", why)
    return promoted(move, version.number, "register") if promote else challenging(move, version.number)


def _create(
    client: MlflowClient, candidate: Candidate, recorded: Recorded, lineage: Mapping[str, str], name: str
) -> None:
    from mlflow.exceptions import MlflowException

    if find_version(read_shelf(name), candidate) is not None:
        return
    try:
        client.create_registered_model(name, description="Tells drawn or generated faces from photographed ones.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    places = {
        "model_uri": recorded.model_uri,
        "bundle_uri": recorded.bundle_uri,
        "predictions_uri": recorded.predictions_uri,
        "lineage_path": recorded.lineage_path,
    }
    figures = {key: f"{candidate.metrics[key]:.6f}" for key in ("test_accuracy", "test_auc")}
    tags = _as_trained(client.get_run(recorded.run_id).data.tags, lineage) | candidate.tags | figures | places
    client.create_model_version(
        name,
        source=f"models:/{recorded.model_id}",
        run_id=recorded.run_id,
        tags=tags | {"facts": candidate.facts.as_json()},
        description=_description(candidate, tags),
        model_id=recorded.model_id,
    )


def _as_trained(run: Mapping[str, str], today: Mapping[str, str]) -> dict[str, str]:
    """Code as the training saw it, if its run says so, never half of each; data as DVC has it now."""
    code = {key: value for key, value in run.items() if key.startswith(CODE)}
    if "git_commit" not in code:
        return dict(today)
    return code | {key: value for key, value in today.items() if not key.startswith(CODE)}


def _description(candidate: Candidate, tags: Mapping[str, str]) -> str:
    names = ("git_commit", "git_dirty", "source", "dvc_lock_sha256", "params_sha256", "weights_sha256", "bundle_sha256")
    rows = [f"- {name}: `{tags[name]}`" for name in (*names, "actor", "trained_by_run") if name in tags]
    rows += [f"- {name}: `{value}`" for name, value in tags.items() if name.startswith("data_sha256:")]
    card = (candidate.bundle.path / "card.md").read_text(encoding="utf-8")
    whole = "\n".join(["## Where it comes from", "", *rows, "", card])
    return whole if len(whole) <= MAX_DESCRIPTION else whole[: MAX_DESCRIPTION - 25] + "\n... the rest: card.md"
