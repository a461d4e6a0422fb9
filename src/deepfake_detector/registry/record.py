"""Candidate -> its MLflow run, complete: history, metrics, figures, sealed bundle, predictions and Keras model."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepfake_detector.model.bundle import SEAL
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.tracking.runs import find_run, log_history, log_params_and_tags
from deepfake_detector.tracking.store import open_client, open_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModel, Run

MODEL_FILE = "MLmodel"  # what makes a folder an MLflow model
LINEAGE_FOLDER = (
    "lineage"  # of dvc.lock and params.yaml; one folder deep, because MLflow downloads deeper ones elsewhere
)
MAX_DIGEST = 36  # characters that MLflow keeps of a data digest
NOT_OF_TEST = ("valid_", "calibration_", "train_")  # prefixes of metrics that were not measured on the test pictures


@dataclass(frozen=True)
class RecordedRun:
    """Where MLflow keeps a candidate."""

    run_id: str
    model_id: str
    model_uri: str  # folder of the Keras model
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
    model = ensure_keras_model(client, run, candidate, load)
    if run.data.tags.get("recorded") != candidate.digest:
        _log_metrics(client, run_id, candidate, model.model_id)
        log_params_and_tags(client, run, candidate.params, candidate.tags | _note_tags(candidate))
        client.update_run(run_id, name=candidate.name)
        if run.info.status != "FINISHED":
            client.set_terminated(run_id)
        client.set_tag(run_id, "recorded", candidate.digest)
    artifacts = run.info.artifact_uri
    return RecordedRun(
        run_id=run_id,
        model_id=model.model_id,
        model_uri=model.artifact_location,
        bundle_uri=f"{artifacts}/bundle/{short}",
        predictions_uri=f"{artifacts}/predictions/{short}/{candidate.predictions.name}",
        lineage_path=f"{LINEAGE_FOLDER}-{short}" if candidate.lineage_files else "",
    )


def ensure_keras_model(
    client: MlflowClient, run: Run, candidate: Candidate, load: Callable[[Path], Any]
) -> LoggedModel:
    """Find the candidate's Keras model among the run's outputs; save it if the model or its files are missing.

    Args:
        client: of the store.
        run: of the candidate's training.
        candidate: the model with its weights is looked for.
        load: Keras model file -> Keras model; imports TensorFlow, so it is called only when needed.
    """
    from mlflow.entities import LoggedModelOutput

    outputs = run.outputs.model_outputs if run.outputs else []
    models = [client.get_logged_model(output.model_id) for output in outputs]
    model = next((m for m in models if m.tags.get("weights_sha256") == candidate.weights_sha256), None)
    if model is not None and any(f.path == MODEL_FILE for f in client.list_logged_model_artifacts(model.model_id)):
        return model
    saved = model or client.create_logged_model(
        run.info.experiment_id, "model", run.info.run_id, candidate.tags, candidate.params, "keras"
    )
    _save_model(client, saved, candidate, load(candidate.keras_model))
    client.finalize_logged_model(saved.model_id, "READY")
    if model is None:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(saved.model_id, candidate.epochs)])
    return saved


def _save_model(client: MlflowClient, model: LoggedModel, candidate: Candidate, network: Any) -> None:
    """Save a Keras network with signature, input example and pinned requirements."""
    # Not mlflow.keras.log_model: in 3.17.2 it writes the input example before its folder exists and stops there,
    # and it takes the run from global state.
    import mlflow.keras
    from mlflow.models import Model, infer_signature

    with np.load(candidate.bundle.reference, allow_pickle=False) as reference:
        crops = reference["crops"][:1]  # uint8 (1, side, side, 3)
    requirements = [f"{name}=={version(name)}" for name in ("keras", "tensorflow", "numpy")]
    description = Model(
        artifact_path=model.artifact_location,
        run_id=model.source_run_id,
        model_uuid=model.model_id,
        model_id=model.model_id,
    )
    with tempfile.TemporaryDirectory() as folder:
        mlflow.keras.save_model(
            network,
            folder,
            mlflow_model=description,
            signature=infer_signature(crops, network.predict(crops, verbose=0)),
            input_example=crops,
            pip_requirements=requirements,
        )
        client.log_model_artifacts(model.model_id, folder)


def _find_or_create_run(client: MlflowClient, candidate: Candidate, experiment: str, lineage: Mapping[str, str]) -> Run:
    run = find_run(client, candidate.run_id)
    if run is not None:
        return run
    experiment_id = open_experiment(client, experiment)
    restored = {"restored": "true", "restored_from": candidate.run_id, "weights_sha256": candidate.weights_sha256}
    query = " and ".join(f"tags.{key} = '{value}'" for key, value in restored.items())
    found = client.search_runs([experiment_id], query, max_results=1)
    if found:
        return found[0]
    run = client.create_run(experiment_id, run_name=candidate.name, tags=restored)
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


def _log_metrics(client: MlflowClient, run_id: str, candidate: Candidate, model_id: str) -> None:
    """Log the data sets, and the metrics tied to the model and to the data they were measured on."""
    from mlflow.entities import Metric

    train_data, test_data = _datasets(candidate)
    client.log_inputs(run_id, [train_data, test_data])
    now_ms, test = int(time.time() * 1000), test_data.dataset
    metrics = []
    for key, value in candidate.metrics.items():
        name, digest = (None, None) if key.startswith(NOT_OF_TEST) else (test.name, test.digest)
        metrics.append(Metric(key, value, now_ms, candidate.epochs, model_id, name, digest, run_id))
    client.log_batch(run_id, metrics)


def _datasets(candidate: Candidate) -> tuple[DatasetInput, DatasetInput]:
    """Training and test data with our digests: MLflow's digest of a table covers its first 10,000 rows only."""
    contract = candidate.bundle.contract
    sources = "-".join(digest for _, digest in sorted(contract.data_sha256.items()))
    return (
        _dataset(candidate, "training", contract.train_images, sources),
        _dataset(candidate, "testing", contract.test_images, candidate.scores.test_digest),
    )


def _dataset(candidate: Candidate, context: str, images: int, digest: str) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    contract = candidate.bundle.contract
    source = json.dumps({"uri": ", ".join(f"{name} sha256:{value}" for name, value in contract.data_sha256.items())})
    profile = json.dumps({"images": images, "side_px": contract.side_px, "digest": digest})
    name = f"{', '.join(sorted(contract.data_sha256))} ({context})"
    dataset = Dataset(name, digest[:MAX_DIGEST], "local", source, profile=profile)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", context)])


def _note_tags(candidate: Candidate) -> dict[str, str]:
    metrics, contract = candidate.metrics, candidate.bundle.contract
    text = (
        f"`{contract.network}`, {candidate.epochs} epochs on {contract.train_images} pictures ({contract.trained_on}). "
        f"Test accuracy {metrics['test_accuracy']:.3f}, AUC {metrics['test_auc']:.3f}. "
        "Figures and card.md are among the artifacts."
    )
    return {"mlflow.note.content": text, "mlflow.source.name": "pipelines/train.py", "mlflow.source.type": "LOCAL"}
