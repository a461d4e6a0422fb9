"""Candidate -> its MLflow run, complete: history, metrics, figures, bundle, predictions and both models."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepfake_detector.model.bundle import SEAL
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.logged_models import ensure_keras_model, ensure_pyfunc_model
from deepfake_detector.tracking.runs import (
    RESTORED_TAG,
    WEIGHTS_TAG,
    find_run_of_weights,
    log_history,
    log_params_and_tags,
)
from deepfake_detector.tracking.store import open_client, open_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

LINEAGE_FOLDER = (
    "lineage"  # of dvc.lock and params.yaml; one folder deep, because MLflow downloads deeper ones elsewhere
)
DATA_FOLDER = "data/raw"  # below the checkout
COLUMN_TYPES: dict[str, Any] = {"label": "long", "p_fake": "double"}  # of predictions.csv; all others are text
MAX_DIGEST = 36  # characters that MLflow keeps of a data digest
NOT_OF_TEST = ("valid_", "calibration_")  # prefixes of metrics that were not measured on the test pictures


@dataclass(frozen=True)
class RecordedRun:
    """Where MLflow keeps a candidate."""

    run_id: str
    restored: bool  # the store lacks the run of the training; this one was made in its place
    model_id: str  # of the pyfunc
    model_uri: str  # folder of the pyfunc, which is the registered model
    keras_uri: str  # folder of the Keras network
    bundle_uri: str  # folder of the sealed bundle
    predictions_uri: str  # CSV of the predictions on the test pictures
    lineage_path: str  # artifact folder of dvc.lock and params.yaml; "" if there were none


def record_candidate(
    candidate: Candidate, experiment: str, lineage: Mapping[str, str], load: Callable[[Path], Any]
) -> RecordedRun:
    """Complete the run that trained the candidate; if the store lost it, create one tagged `restored`.

    Args:
        candidate: what to record.
        experiment: MLflow experiment for a run that must be created.
        lineage: tags of the present code and data, for such a run; an existing one has logged its own.
        load: Keras model file -> Keras model; called only when the store lacks the model.
    """
    client = open_client()
    run = _find_or_create_run(client, candidate, experiment, lineage)
    run_id = run.info.run_id
    short = candidate.bundle.sha256[:12]  # one training can be evaluated twice: each bundle has its own folder
    if run.data.tags.get("recorded") != candidate.digest or not client.list_artifacts(run_id, f"bundle/{short}"):
        log_history(client, run_id, candidate.history)
        _log_files(client, run_id, candidate, short)
    network = ensure_keras_model(client, run, candidate, load)
    model = ensure_pyfunc_model(client, run, candidate)
    predictions = f"predictions/{short}/{candidate.predictions.name}"
    if run.data.tags.get("recorded") != candidate.digest:
        _log_metrics(client, run_id, candidate, model.model_id, f"runs:/{run_id}/{predictions}")
        log_params_and_tags(client, run, candidate.params, candidate.tags | _note_tags(candidate))
        client.update_run(run_id, name=candidate.name)
        if run.info.status != "FINISHED":
            client.set_terminated(run_id)
        client.set_tag(run_id, "recorded", candidate.digest)
    artifacts = run.info.artifact_uri
    return RecordedRun(
        run_id=run_id,
        restored=RESTORED_TAG in run.data.tags,
        model_id=model.model_id,
        model_uri=model.artifact_location,
        keras_uri=network.artifact_location,
        bundle_uri=f"{artifacts}/bundle/{short}",
        predictions_uri=f"{artifacts}/{predictions}",
        lineage_path=f"{LINEAGE_FOLDER}-{short}" if candidate.lineage_files else "",
    )


def _find_or_create_run(client: MlflowClient, candidate: Candidate, experiment: str, lineage: Mapping[str, str]) -> Run:
    run = find_run_of_weights(client, candidate.weights_sha256, candidate.params)
    if run is not None:
        return run
    restored = {RESTORED_TAG: "true", WEIGHTS_TAG: candidate.weights_sha256}
    run = client.create_run(open_experiment(client, experiment), run_name=candidate.name, tags=restored)
    log_params_and_tags(client, run, {}, lineage)
    client.set_terminated(run.info.run_id)
    return client.get_run(run.info.run_id)


def _log_files(client: MlflowClient, run_id: str, candidate: Candidate, short: str) -> None:
    for figure in candidate.figure_files:
        client.log_artifact(run_id, str(figure))  # not in a folder: MLflow's comparison page shows no folders
    for path in candidate.lineage_files:
        client.log_artifact(run_id, str(path), f"{LINEAGE_FOLDER}-{short}")
    client.log_artifact(run_id, str(candidate.predictions), f"predictions/{short}")
    client.log_artifact(run_id, str(candidate.bundle.path / "card.md"))
    files = sorted(candidate.bundle.path.iterdir(), key=lambda path: path.name == SEAL)  # the seal comes last
    for path in files:
        client.log_artifact(run_id, str(path), f"bundle/{short}")


def _log_metrics(client: MlflowClient, run_id: str, candidate: Candidate, model_id: str, predictions_uri: str) -> None:
    """Log the data sets, and the metrics tied to the model and to the data they were measured on."""
    from mlflow.entities import Metric

    test_data = _test_data(candidate, predictions_uri)
    client.log_inputs(run_id, [_training_data(candidate), test_data])
    now_ms, test = int(time.time() * 1000), test_data.dataset
    metrics = []
    for key, value in candidate.metrics.items():
        name, digest = (None, None) if key.startswith(NOT_OF_TEST) else (test.name, test.digest)
        metrics.append(Metric(key, value, now_ms, candidate.epochs, model_id, name, digest, run_id))
    client.log_batch(run_id, metrics)


def _training_data(candidate: Candidate) -> DatasetInput:
    """Crops of the training split; the source is the archive, which DVC keeps at this path in a checkout."""
    from mlflow.types import Schema, TensorSpec

    contract = candidate.bundle.contract
    digests = dict(sorted(contract.data_sha256.items()))
    location = f"{DATA_FOLDER}/{next(iter(digests))}.zip" if len(digests) == 1 else DATA_FOLDER
    side_px = contract.side_px
    crops = Schema([TensorSpec(np.dtype("uint8"), (-1, side_px, side_px, 3), "crops")])
    labels = Schema([TensorSpec(np.dtype("int64"), (-1,), "labels")])
    schema = {"mlflow_tensorspec": {"features": crops.to_json(), "targets": labels.to_json()}}
    return _dataset(candidate, "training", contract.train_images, "-".join(digests.values()), location, schema)


def _test_data(candidate: Candidate, predictions_uri: str) -> DatasetInput:
    """The table of test pictures, labels and predictions; the source is its file among the run's artifacts."""
    from mlflow.types import ColSpec, Schema

    with candidate.predictions.open(encoding="utf-8", newline="") as file:
        names = next(csv.reader(file))
    columns = Schema([ColSpec(COLUMN_TYPES.get(name, "string"), name) for name in names])
    schema = {"mlflow_colspec": columns.to_dict()}
    images, digest = candidate.bundle.contract.test_images, candidate.scores.test_digest
    return _dataset(candidate, "testing", images, digest, predictions_uri, schema)


def _dataset(
    candidate: Candidate, context: str, images: int, digest: str, location: str, schema: Mapping[str, Any]
) -> DatasetInput:
    """A data set with our digest: MLflow's digest of a table covers its first 10,000 rows only.

    The source type is "local" because MLflow 3.17 opens files and `runs:/` addresses of that type only.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    contract = candidate.bundle.contract
    profile = {"images": images, "side_px": contract.side_px, "digest": digest, "data_sha256": contract.data_sha256}
    name = f"{', '.join(sorted(contract.data_sha256))} ({context})"
    dataset = Dataset(
        name,
        digest[:MAX_DIGEST],
        "local",
        json.dumps({"uri": location}),
        schema=json.dumps(schema),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def _note_tags(candidate: Candidate) -> dict[str, str]:
    metrics, contract = candidate.metrics, candidate.bundle.contract
    text = (
        f"`{contract.network}`, {candidate.epochs} epochs on {contract.train_images} pictures ({contract.trained_on}). "
        f"Test accuracy {metrics['test_accuracy']:.3f}, AUC {metrics['test_auc']:.3f}. "
        "Figures and card.md are among the artifacts."
    )
    return {"mlflow.note.content": text, "mlflow.source.name": "pipelines/train.py", "mlflow.source.type": "LOCAL"}
