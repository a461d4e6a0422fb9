"""Trained Keras model -> ONNX graph, reference outputs and the digest of its weights."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import onnx
from numpy.typing import NDArray

from deepfake_detector.model.network import delivered, with_logit_map


def load_trained(path: Path) -> keras.Model:
    """Read a delivered model: crops uint8 (n, side, side, 3) -> logits float32 (n,)."""
    return keras.models.load_model(path, compile=False, safe_mode=True)


def export_graph(
    model: keras.Model, crops: NDArray[np.uint8], graph: Path, reference: Path, mirrored: bool = False
) -> None:
    """Write the ONNX graph and what it must answer.

    Args:
        model: a delivered model.
        crops: uint8 (k, side, side, 3), a few real ones; k >= 1.
        graph: the ONNX file to write: `crops` -> `logits` (n,) and `logit_map` (n, h, w).
        reference: the .npz file to write: the crops and Keras' own float32 answers to them.
        mirrored: see `with_logit_map`.
    """
    mapped = with_logit_map(model, mirrored)
    answers = mapped.predict(crops, verbose=0)
    np.savez_compressed(reference, crops=crops, **answers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # tf2onnx asks NumPy for names it no longer has
        mapped.export(graph, format="onnx", verbose=False)
    _name_by_use(graph)


def _name_by_use(path: Path) -> None:
    """Name what is between inputs and outputs in the order of its use: the same weights give the same bytes.

    tf2onnx counts names per process, in the order of a set, and writes down the temporary folder it read from.
    """
    model = onnx.load(path)
    graph = model.graph
    outer = (*graph.input, *graph.output)
    for dimension in (value.type.tensor_type.shape.dim[0] for value in outer):
        dimension.dim_param = "n"
    names = {value.name: value.name for value in outer} | {"": ""}  # "": left out
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        for between in (node.input, node.output):
            between[:] = [names.setdefault(name, f"between_{len(names)}") for name in between]
    order = {name: place for place, name in enumerate(names.values())}
    for constant in graph.initializer:
        constant.name = names[constant.name]
    graph.initializer.sort(key=lambda constant: order[constant.name])
    graph.doc_string = ""
    onnx.save(model, path)


def rescaled(model: keras.Model, weights: Sequence[float], offsets: Sequence[float]) -> keras.Model:
    """The same network, the logit of each of k kinds times its weight plus its offset: a calibration inside the graph.

    Its last layer with a bias gives the logit of each kind in each place; what is done to all places is done to their
    mean.
    """
    copy = delivered(model, model.input.shape[1])
    last = [layer for layer in copy.layers if getattr(layer, "bias", None) is not None][-1]
    kernel, bias = last.get_weights()
    times = np.array(weights, np.float32)
    last.set_weights([kernel * times, bias * times + np.array(offsets, np.float32)])
    return copy


def weights_sha256(model: keras.Model) -> str:
    """SHA-256 over names, shapes and values of all weights; the file they came in does not matter."""
    digest = hashlib.sha256()
    for variable in model.weights:
        array = np.ascontiguousarray(variable, dtype="<f4")
        digest.update(f"{variable.path} {array.shape}\n".encode() + array.tobytes())
    return digest.hexdigest()
