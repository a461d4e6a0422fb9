"""Trained Keras model <-> .keras file; -> ONNX graph, reference outputs, digest of the weights (SHA-256, hex)."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deepfake_detector.io import atomic_write
from deepfake_detector.model.network import (
    CLASSIFIERS,
    MAP_LAYER,
    WITH_BACKBONE,
    classifier_layers,
    portable_copy,
    with_logit_map,
)

# Of one kernel: smaller ones have few bytes.
MIN_COMPACT_VALUES, MAX_INT16 = 4096, 32767


def save_trained(model: keras.Model, path: Path) -> None:
    """Write a Keras model to `path` (.keras), atomically; the same model gives the same bytes."""
    # Keras refuses a name that does not end in .keras.
    with atomic_write(path) as temporary, tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        model.save(Path(folder) / "model.keras")
        _copy_without_dates(Path(folder) / "model.keras", temporary)


def _copy_without_dates(saved: Path, path: Path) -> None:
    """Copy a .keras file without the dates and memory addresses that Keras 3.15 writes into it."""
    with ZipFile(saved) as old, ZipFile(path, "w") as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == "metadata.json":
                metadata = json.loads(content)
                metadata.pop("date_saved", None)
                content = json.dumps(metadata).encode()
            elif name == "config.json":
                content = _number_shared_objects(content)
            new.writestr(ZipInfo(name), content)  # dated 1980, as every ZipInfo without a date


def _number_shared_objects(config: bytes) -> bytes:
    """JSON in which shared objects are numbered in the order of their appearance, not by their address in memory."""
    numbers: dict[int, int] = {}

    def with_number(part: dict[str, Any]) -> dict[str, Any]:
        if "shared_object_id" in part:
            part["shared_object_id"] = numbers.setdefault(part["shared_object_id"], len(numbers) + 1)
        return part

    return json.dumps(json.loads(config, object_hook=with_number)).encode()


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
    with warnings.catch_warnings(), _consumers_in_order():
        warnings.simplefilter("ignore", FutureWarning)  # tf2onnx uses names that NumPy has removed
        mapped.export(graph, format="onnx", verbose=False)
    if model.name in WITH_BACKBONE:
        _store_in_16_bits(graph)
    _canonicalise_names(graph)


@contextmanager
def _consumers_in_order() -> Iterator[None]:
    """Let tf2onnx 1.17 visit the consumers of a tensor in the order of their names.

    It keeps them in a set of strings, whose order depends on PYTHONHASHSEED, and its optimiser writes another graph of
    the same function for another order.
    """
    from tf2onnx.graph import Graph

    unordered = Graph.find_output_consumers

    def position(node: Any) -> list[tuple[int, str]]:
        # Numbers by their value: they count what this process has built and converted before.
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", node.name)]

    def ordered(self: Any, output: str) -> list[Any]:
        return sorted(unordered(self, output), key=position)

    Graph.find_output_consumers = ordered
    try:
        yield
    finally:
        Graph.find_output_consumers = unordered


def _store_in_16_bits(path: Path) -> None:
    """Store large kernels as int16, with a scale per output channel by which they are multiplied: half the file.

    Only networks with a backbone are large enough to need it. The rounding error is at most 1/65534 of the largest
    weight of the channel. The probabilities of 256 crops changed by up to 0.0002; float16, which rounds each weight by
    up to 1/4096 of itself, changed them by up to 0.0026.
    """
    model = onnx.load(path)
    for constant in model.graph.initializer:
        kernel = numpy_helper.to_array(constant)
        if kernel.dtype != np.float32 or kernel.size < MIN_COMPACT_VALUES or kernel.ndim != 4:
            continue
        name, scale = constant.name, np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / np.float32(MAX_INT16)
        scale = np.maximum(scale, np.finfo(np.float32).tiny)
        constant.CopyFrom(numpy_helper.from_array(np.rint(kernel / scale).astype(np.int16), f"{name}_int16"))
        model.graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        model.graph.node.insert(0, helper.make_node("Mul", [f"{name}_float", f"{name}_scale"], [name]))
        model.graph.node.insert(0, helper.make_node("Cast", [f"{name}_int16"], [f"{name}_float"], to=TensorProto.FLOAT))
    onnx.save(model, path)


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
    """The same network with vector scaling folded into its last layers.

    They give the logit of each kind in each cell. Scaling is affine, so scaling the cells scales their mean.

    Args:
        model: a trained model with k kinds.
        weights: k factors of the logits.
        offsets: k values added after that.
    """
    copy = portable_copy(model, model.input.shape[1])
    factors = np.array(weights, np.float32)
    for layer in classifier_layers(copy):  # of several branches the mean is taken, which scales as they do
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * factors, bias * factors + np.array(offsets, np.float32)])
    return copy


def with_branch_weights(model: keras.Model, weights: NDArray[np.float64]) -> keras.Model:
    """The same network with each branch's logits multiplied, before their mean is taken.

    Args:
        model: a trained model with b branches and k kinds.
        weights: (b, k).
    """
    copy = portable_copy(model, model.input.shape[1])
    branches = sorted(classifier_layers(copy), key=lambda layer: CLASSIFIERS.index(layer.name))
    for layer, factors in zip(branches, weights.astype(np.float32), strict=True):
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * factors, bias * factors])
    return copy


def branch_logits(model: keras.Model, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Logits of each kind by each branch: uint8 (n, side, side, 3) -> (n, b, k); b is 1 without branches."""
    layer = model.get_layer(MAP_LAYER)
    maps = list(layer.input) if isinstance(layer.input, list) else [layer.output]
    found = keras.Model(model.input, maps).predict(crops, verbose=0)
    return np.stack(
        [np.asarray(each, np.float64).mean(axis=(1, 2)) for each in (found if len(maps) > 1 else [found])], 1
    )


def weights_sha256(model: keras.Model) -> str:
    """Hex SHA-256 over paths, shapes and values of all weights; it does not depend on the file format."""
    digest = hashlib.sha256()
    for variable in model.weights:
        array = np.ascontiguousarray(variable, dtype="<f4")
        digest.update(f"{variable.path} {array.shape}\n".encode() + array.tobytes())
    return digest.hexdigest()
