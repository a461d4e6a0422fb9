"""Candidate's Keras file -> a model in MLflow's store, with signature, input example and pinned requirements."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepfake_detector.registry.candidate import Candidate

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

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
