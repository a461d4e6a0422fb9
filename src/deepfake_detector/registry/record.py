"""Candidate's Keras file -> a model in MLflow's store, with signature, input example and pinned requirements."""

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
from deepfake_detector.tracking.runs import find_run, log_facts, log_history
from deepfake_detector.tracking.store import open_client, open_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModel, Run

MODEL_FILE = "MLmodel"  # what makes a folder an MLflow model


def keep_model(client: MlflowClient, run: Run, candidate: Candidate, load: Callable[[Path], Any]) -> LoggedModel:
    """Find the candidate's Keras model among the run's outputs; save it there if it is missing or its files are.

    Args:
        client: of the store.
        run: that trained the candidate.
        candidate: whose weights are looked for.
        load: Keras model file -> Keras model; imports TensorFlow, so it is called only when needed.
    """
    from mlflow.entities import LoggedModelOutput

    outputs = run.outputs.model_outputs if run.outputs else []
    known = [client.get_logged_model(output.model_id) for output in outputs]
    model = next((m for m in known if m.tags.get("weights_sha256") == candidate.weights_sha256), None)
    if model is not None and any(f.path == MODEL_FILE for f in client.list_logged_model_artifacts(model.model_id)):
        return model
    new = model or client.create_logged_model(
        run.info.experiment_id, "model", run.info.run_id, candidate.tags, candidate.params, "keras"
    )
    _save_model(client, new, candidate, load(candidate.keras_model))
    client.finalize_logged_model(new.model_id, "READY")
    if model is None:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(new.model_id, candidate.epochs)])
    return new


def _save_model(client: MlflowClient, model: LoggedModel, candidate: Candidate, network: Any) -> None:
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


MAX_DIGEST = 36  # characters MLflow keeps of a data digest
STOOD = (
    "lineage"  # of dvc.lock and params.yaml, as they were; one folder deep, as MLflow downloads deeper ones elsewhere
)
NOT_OF_TEST = ("valid_", "calibration_", "train_")  # metrics that were not measured on the test pictures


@dataclass(frozen=True)
class Recorded:
    """Where a candidate lies in MLflow."""

    run_id: str
    model_id: str
    model_uri: str  # folder of the Keras model
    bundle_uri: str  # folder of the sealed bundle
    predictions_uri: str  # CSV of the test pictures' scores
    lineage_path: str  # folder of the run's artifacts with dvc.lock and params.yaml; "" if there were none


def record(candidate: Candidate, experiment: str, lineage: Mapping[str, str], load: Callable[[Path], Any]) -> Recorded:
    """Complete the run that trained the candidate; a run that is gone is made anew, tagged `restored`.

    Args:
        candidate: what to record.
        experiment: MLflow experiment of a run that must be made anew.
        lineage: tags that say where the code stood; a run that logged its own at training time keeps them.
        load: Keras model file -> Keras model; only called when the store lacks the model.
    """
    client = open_client()
    run = _run(client, candidate, experiment, lineage)
    run_id = run.info.run_id
    short = candidate.bundle.sha256[:12]  # one training can be judged twice: each bundle keeps its own folder
    if run.data.tags.get("recorded") != candidate.digest or not client.list_artifacts(run_id, f"bundle/{short}"):
        log_history(client, run_id, candidate.history)
        _log_files(client, run_id, candidate, short)
    model = keep_model(client, run, candidate, load)
    if run.data.tags.get("recorded") != candidate.digest:
        _log_figures(client, run_id, candidate, model.model_id)
        log_facts(client, run, candidate.params, candidate.tags | _note(candidate))
        client.update_run(run_id, name=candidate.name)
        if run.info.status != "FINISHED":
            client.set_terminated(run_id)
        client.set_tag(run_id, "recorded", candidate.digest)
    artifacts = run.info.artifact_uri
    return Recorded(run_id, model.model_id, model.artifact_location, f"{artifacts}/bundle/{short}",
                    f"{artifacts}/predictions/{short}/{candidate.predictions.name}",
                    f"{STOOD}-{short}" if candidate.stood else "")  # fmt: skip


def _run(client: MlflowClient, candidate: Candidate, experiment: str, lineage: Mapping[str, str]) -> Run:
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
    log_facts(client, run, {}, lineage)
    client.set_terminated(run.info.run_id)
    return client.get_run(run.info.run_id)


def _log_files(client: MlflowClient, run_id: str, candidate: Candidate, short: str) -> None:
    for page in candidate.pages:
        client.log_artifact(run_id, str(page))  # not in a folder: MLflow's comparison page shows no folders
    for path in candidate.stood:
        client.log_artifact(run_id, str(path), f"{STOOD}-{short}")
    client.log_artifact(run_id, str(candidate.predictions), f"predictions/{short}")
    client.log_artifact(run_id, str(candidate.bundle.path / "card.md"))
    files = sorted(candidate.bundle.path.iterdir(), key=lambda path: path.name == SEAL)  # the seal comes last
    for path in files:
        client.log_artifact(run_id, str(path), f"bundle/{short}")


def _log_figures(client: MlflowClient, run_id: str, candidate: Candidate, model_id: str) -> None:
    """Data sets, and the metrics tied to the model and to the data they were measured on."""
    from mlflow.entities import Metric

    trained_on, tested_on = _datasets(candidate)
    client.log_inputs(run_id, [trained_on, tested_on])
    now_ms, test = int(time.time() * 1000), tested_on.dataset
    metrics = []
    for key, value in candidate.metrics.items():
        name, digest = (None, None) if key.startswith(NOT_OF_TEST) else (test.name, test.digest)
        metrics.append(Metric(key, value, now_ms, candidate.epochs, model_id, name, digest, run_id))
    client.log_batch(run_id, metrics)


def _datasets(candidate: Candidate) -> tuple[DatasetInput, DatasetInput]:
    """MLflow's own digest of a table covers its first 10,000 rows only, so these carry ours."""
    contract = candidate.bundle.contract
    whole = "-".join(digest for _, digest in sorted(contract.data_sha256.items()))
    return (
        _dataset(candidate, "training", contract.train_images, whole),
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


def _note(candidate: Candidate) -> dict[str, str]:
    scores, contract = candidate.metrics, candidate.bundle.contract
    text = (
        f"`{contract.network}`, {candidate.epochs} epochs on {contract.train_images} pictures ({contract.trained_on}). "
        f"Test accuracy {scores['test_accuracy']:.3f}, AUC {scores['test_auc']:.3f}. "
        "Figures and card.md are among the artifacts."
    )
    return {"mlflow.note.content": text, "mlflow.source.name": "pipelines/train.py", "mlflow.source.type": "LOCAL"}
