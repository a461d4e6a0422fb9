"""A picture over HTTP with 1, 4, 16 and 64 clients: our service against no network, MLflow's and a plain one."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.baselines import keras_network
from benchmarks.load import Post, answered, done_at_once, upload
from benchmarks.material import Material
from benchmarks.servers import Server, serving
from benchmarks.timing import Comparison, Variant, compare
from deepfake_detector.inference.detector import Detector
from deepfake_detector.io import suppress_native_stderr
from deepfake_detector.parallel import available_cores

CLIENTS = (1, 4, 16, 64)
PICTURES, REQUESTS, SLOW_REQUESTS, ROUNDS = 32, 128, 24, 3
IN_PROCESS = 0.6  # goal of issue 7
PORT = ("--host", "127.0.0.1", "--port", "{port}")


def http_rows(material: Material) -> Iterator[Comparison]:
    """Every row. All servers run throughout; those that are not asked wait."""
    pictures = material.pictures(material.some(PICTURES))
    detector = Detector(material.bundle)
    model = material.scratch / "model.keras"
    keras_network(detector.bundle).save(model)
    # MLflow takes tensors: what our service does before the network, decoding and finding faces, is done for it.
    tensors = [_tensor(crop) for crop in material.crops(4)]
    ours, plain = ([upload(path, "image", data) for data in pictures] for path in ("/predict_image", "/predict"))
    many, few = material.some(REQUESTS), material.some(SLOW_REQUESTS)
    with serving(_servers(material, model)) as (ours_port, plain_port, mlflow_port):
        for clients in CLIENTS:
            threads = min(clients, available_cores())
            inside = partial(done_at_once, lambda i: detector.predict_image(pictures[i % len(pictures)]), threads, many)
            others = [
                Variant("in this process", inside),
                Variant("FastAPI + Keras", partial(answered, plain_port, plain, clients, few)),
                Variant("mlflow models serve, crop as JSON", partial(answered, mlflow_port, tensors, clients, few)),
            ]
            service = Variant("our service", partial(answered, ours_port, ours, clients, many))
            name = f"image over HTTP, {clients} client{'s' if clients > 1 else ''}"
            yield from compare(name, service, others, "picture", material.some(ROUNDS), (IN_PROCESS,))


def _tensor(crop: NDArray[np.uint8]) -> Post:
    return Post("/invocations", json.dumps({"inputs": crop[None].tolist()}).encode(), "application/json")


def _servers(material: Material, model: Path) -> list[Server]:
    """Our service as `make serve` runs it, from a store of its own; the others as their manuals say."""
    scratch = material.scratch
    python = (sys.executable, "-m")
    home = {"BENTOML_HOME": str(scratch / "bentoml")}
    ours = (*python, "bentoml", "serve", _bento(material, home), *PORT)
    plain = (*python, "uvicorn", "benchmarks.plain_service:app", *PORT, "--log-level", "warning")
    mlflow = (*python, "mlflow", "models", "serve", "-m", _logged(model), "--env-manager", "local", *PORT)
    return [
        Server(ours, "/readyz", scratch / "ours.log", home),
        Server(plain, "/docs", scratch / "plain.log", {"DEEPFAKE_BENCH_KERAS": str(model)}),
        Server(mlflow, "/ping", scratch / "mlflow.log"),
    ]


def _bento(material: Material, home: dict[str, str]) -> str:
    """Package the model that ships into a store of its own."""
    os.environ.update(home)  # before BentoML is imported: it makes its folders then
    from deepfake_detector.packaging import package_pretrained

    return package_pretrained(material.bundle, material.workspace.root, "deepfake-bench").bento


def _logged(model: Path) -> str:
    """The same network in MLflow's own format."""
    with suppress_native_stderr():
        import keras
        import mlflow
    folder = model.with_name("mlflow-model")
    network = keras.models.load_model(model, compile=False)
    example = np.zeros((1, *network.input_shape[1:]), np.uint8)
    signature = mlflow.models.infer_signature(example, network.predict(example, verbose=0))
    mlflow.keras.save_model(network, str(folder), pip_requirements=["keras"], signature=signature)
    return str(folder)
