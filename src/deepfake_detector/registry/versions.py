"""Recorded candidate -> a version of the registered model, the aliases champion, previous, challenger.

Every step can be repeated: the same weights in the same bundle are the same version, and a decision is written on
the version before it is carried out, so that a kill in between is made good by the next run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from deepfake_detector.errors import ToolFailed
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.decisions import (
    CHAMPION,
    find_version,
    standing_decision,
    take_decision,
    write_decision,
)
from deepfake_detector.registry.record import Recorded
from deepfake_detector.registry.shelf import Shelf, Version, read_shelf
from deepfake_detector.registry.store import open_client
from deepfake_detector.settings import Register

if TYPE_CHECKING:
    from mlflow import MlflowClient

PREVIOUS, CHALLENGER = "previous", "challenger"
CODE = ("git_", "version:", "params_sha256", "mlflow.source.git.")  # tags that speak of code, not data
MAX_DESCRIPTION = 5000  # characters that MLflow's table holds


def register(candidate: Candidate, recorded: Recorded, lineage: Mapping[str, str], settings: Register) -> Shelf:
    """Make the candidate a version, decide whether it becomes champion, and move the aliases.

    Args:
        candidate: what was recorded.
        recorded: where it lies in MLflow.
        lineage: tags that say where code and data stood.
        settings: params.yaml's `register`.
    """
    client = open_client()
    if find_version(read_shelf(settings.model_name), candidate) is None:
        _create(client, candidate, recorded, lineage, settings.model_name)
    shelf = read_shelf(settings.model_name)
    version = find_version(shelf, candidate)
    if version is None:
        raise ToolFailed(f"MLflow does not show the version just made of {candidate.name}", "run `dvc repro register`")
    champion = shelf.at(CHAMPION)
    decision = standing_decision(version, champion, settings) or take_decision(candidate, champion, settings)
    write_decision(client, settings.model_name, version, decision)
    _move_aliases(client, settings.model_name, shelf, version, bool(decision["promoted"]))
    write_decision(client, settings.model_name, version, decision | {"done": True})
    return read_shelf(settings.model_name)


def _create(
    client: MlflowClient, candidate: Candidate, recorded: Recorded, lineage: Mapping[str, str], name: str
) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description="Tells drawn or generated faces from photographed ones.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    places = {"model_uri": recorded.model_uri, "bundle_uri": recorded.bundle_uri}
    figures = {key: f"{candidate.metrics[key]:.6f}" for key in ("test_accuracy", "test_auc")}
    tags = _as_trained(client.get_run(recorded.run_id).data.tags, lineage) | candidate.tags | figures | places
    client.create_model_version(
        name,
        source=f"models:/{recorded.model_id}",
        run_id=recorded.run_id,
        tags=tags | {"predictions_uri": recorded.predictions_uri},
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
    rows = [f"- {name}: `{tags[name]}`" for name in names if name in tags]
    rows += [f"- {name}: `{value}`" for name, value in tags.items() if name.startswith("data_sha256:")]
    card = (candidate.bundle.path / "card.md").read_text(encoding="utf-8")
    whole = "\n".join(["## Where it comes from", "", *rows, "", card])
    return whole if len(whole) <= MAX_DESCRIPTION else whole[: MAX_DESCRIPTION - 25] + "\n... the rest: card.md"


def _move_aliases(client: MlflowClient, name: str, shelf: Shelf, version: Version, promote: bool) -> None:
    champion, challenger = shelf.at(CHAMPION), shelf.at(CHALLENGER)
    if champion is not None and champion.number == version.number:
        return
    if not promote:
        client.set_registered_model_alias(name, CHALLENGER, version.number)
        return
    if champion is not None:
        # What was decided about it is past: if it is asked for again, it must win again.
        client.set_registered_model_alias(name, PREVIOUS, champion.number)
        client.delete_model_version_tag(name, champion.number, "decision")
    client.set_registered_model_alias(name, CHAMPION, version.number)
    if challenger is not None and challenger.number == version.number:
        client.delete_registered_model_alias(name, CHALLENGER)
