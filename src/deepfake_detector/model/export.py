"""Trained Keras model <-> .keras file; -> ONNX graph, reference outputs, digest of the weights (SHA-256, hex)."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import onnx
from numpy.typing import NDArray

from deepfake_detector.io import atomic_write
from deepfake_detector.model.network import portable_copy, with_logit_map


def save_trained(model: keras.Model, path: Path) -> None:
    """Write a Keras model to `path` (.keras), atomically."""
    # Keras refuses a name that does not end in .keras.
    with atomic_write(path) as temporary, tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        model.save(Path(folder) / "model.keras")
        (Path(folder) / "model.keras").replace(temporary)


def load_trained(path: Path) -> keras.Model:
    """Read a model that `save_trained` wrote: crops uint8 (n, side, side, 3) -> logits float32 (n,)."""
    return keras.models.load_model(path, compile=False, safe_mode=True)


def export_onnx(
    model: keras.Model, crops: NDArray[np.uint8], graph: Path, reference: Path, mirrored: bool = False
) -> None:
    """Write the ONNX graph, and reference outputs to check other runtimes against.

    Args:
        model: a trained model, as `portable_copy` returns it.
        crops: uint8 (m, side, side, 3), some real ones; m >= 1.
        graph: the ONNX file to write: `crops` -> `logits` (n,), `logit_map` (n, h, w) and `kinds` (n, k).
        reference: the .npz file to write: the crops and Keras's float32 outputs for them.
        mirrored: see `with_logit_map`.
    """
    mapped = with_logit_map(model, mirrored)
    outputs = mapped.predict(crops, verbose=0)
    np.savez_compressed(reference, crops=crops, **outputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # tf2onnx uses names that NumPy has removed
        mapped.export(graph, format="onnx", verbose=False)
    _canonicalise_names(graph)


def _canonicalise_names(path: Path) -> None:
    """Rename nodes and inner tensors in the order of their use, so that the same weights give the same bytes.

    tf2onnx numbers names per process, in the order of a set, and stores the path of the temporary folder it read.
    """
    model = onnx.load(path)
    graph = model.graph
    outer = (*graph.input, *graph.output)
    for dimension in (value.type.tensor_type.shape.dim[0] for value in outer):
        dimension.dim_param = "n"
    names = {value.name: value.name for value in outer} | {"": ""}  # "": an omitted input
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        for tensors in (node.input, node.output):
            tensors[:] = [names.setdefault(name, f"between_{len(names)}") for name in tensors]
    order = {name: index for index, name in enumerate(names.values())}
    for constant in graph.initializer:
        constant.name = names[constant.name]
    graph.initializer.sort(key=lambda constant: order[constant.name])
    graph.doc_string = ""
    onnx.save(model, path)


def with_vector_scaling(model: keras.Model, weights: Sequence[float], offsets: Sequence[float]) -> keras.Model:
    """The same network with vector scaling folded into its last layer.

    That layer gives the logit of each kind in each cell. Scaling is affine, so scaling the cells scales their mean.

    Args:
        model: a trained model with k kinds.
        weights: k factors of the logits.
        offsets: k values added after that.
    """
    copy = portable_copy(model, model.input.shape[1])
    last = [layer for layer in copy.layers if getattr(layer, "bias", None) is not None][-1]
    kernel, bias = last.get_weights()
    factors = np.array(weights, np.float32)
    last.set_weights([kernel * factors, bias * factors + np.array(offsets, np.float32)])
    return copy


def weights_sha256(model: keras.Model) -> str:
    """Hex SHA-256 over paths, shapes and values of all weights; it does not depend on the file format."""
    digest = hashlib.sha256()
    for variable in model.weights:
        array = np.ascontiguousarray(variable, dtype="<f4")
        digest.update(f"{variable.path} {array.shape}\n".encode() + array.tobytes())
    return digest.hexdigest()
