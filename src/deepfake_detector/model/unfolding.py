"""ONNX graph of a bundle -> kernels and biases of its convolutions -> a Keras network that can be trained further.

In the graph each batch normalisation is folded into its convolution. To unfold it, the mean and the variance of the
convolution's output are measured on crops, and gamma and beta are set so that the layer computes the same function: the
normalisation then fits the data when training begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from deepfake_detector.model.network import BACKBONE_MAP, HIGH_PASS_LAYER, MAP_LAYER, RESIDUAL_MAP

RESIDUAL, BACKBONE = "residual", "backbone"
STEM_LAYER = "stem"
BATCH = 64
Array = NDArray[np.float32]


@dataclass(frozen=True)
class FoldedConvolution:
    """A convolution and the affine function behind it: (n, h, w, in) -> (n, h, w, out)."""

    kernel: Array  # (height, width, in, out); of a depthwise one (height, width, channels, 1)
    bias: Array  # (out,)


def folded_convolutions(graph: Path) -> dict[str, list[FoldedConvolution]]:
    """Branch, `residual` or `backbone` -> its convolutions in order, the classifier last.

    Args:
        graph: detector.onnx of a bundle; branches of other networks are left out.
    """
    model = onnx.load(graph).graph
    constants = _constants(model)
    producers = {name: node for node in model.node for name in node.output}
    users: dict[str, list[Any]] = {}
    for node in model.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    branches: dict[str, list[FoldedConvolution]] = {}
    seen = set[str]()  # a graph that scores the mirror image, too, has each kernel twice
    for node in model.node:
        if node.op_type == "Conv" and node.input[1] not in seen:
            seen.add(node.input[1])
            branch = _branch(_first_convolution(node, producers, constants), constants)
            if branch:
                branches.setdefault(branch, []).append(_folded(node, constants, users))
    if RESIDUAL in branches:
        branches[RESIDUAL] = branches[RESIDUAL][1:]  # the fixed high-pass filter
    return branches


def unfold(model: keras.Model, branch: str, convolutions: list[FoldedConvolution], crops: NDArray[np.uint8]) -> None:
    """Set the layers of one branch, so that it computes what its convolutions compute.

    Args:
        model: a float32 network with that branch.
        branch: `residual` or `backbone`.
        convolutions: of that branch, as `folded_convolutions` returns them.
        crops: uint8 (m, side, side, 3), on which mean and variance are measured; hundreds.

    Raises:
        ValueError: the branch has other layers or shapes.
    """
    layers = branch_convolutions(model, branch)
    shapes = [tuple(layer.kernel.shape) for layer in layers]
    if shapes != (found := [tuple(each.kernel.shape) for each in convolutions]):
        raise ValueError(f"the branch {branch} has kernels {found}, expected {shapes}")
    norms = {layer.name: layer for layer in model.layers}
    pairs = [
        (layer, norms.get(f"{layer.name}_norm"), folded) for layer, folded in zip(layers, convolutions, strict=True)
    ]
    normalised = [(layer, norm, folded.bias) for layer, norm, folded in pairs if norm is not None]
    for layer, norm, folded in pairs:
        layer.set_weights([folded.kernel] if norm is not None else [folded.kernel, folded.bias])
    for _, norm, bias in normalised:  # any statistics give the same function, so one pass measures all layers
        _set_statistics(norm, bias, np.zeros_like(bias), np.ones_like(bias))
    outputs = keras.Model(model.input, [layer.output for layer, _, _ in normalised])
    for (_, norm, bias), (mean, variance) in zip(normalised, _moments(outputs, crops), strict=True):
        _set_statistics(norm, bias, mean, variance)


def _set_statistics(norm: Any, bias: Array, mean: Array, variance: Array) -> None:
    """Let a normalisation with these statistics add the bias and do nothing else."""
    norm.set_weights([np.sqrt(variance + norm.epsilon), bias + mean, mean, variance])


def branch_convolutions(model: keras.Model, branch: str) -> list[Any]:
    """The convolutions of a branch with weights that are learned, in the order of computation; none without it."""
    layers = {layer.name: layer for layer in model.layers}
    if branch == RESIDUAL:
        first, last, prefix = HIGH_PASS_LAYER, RESIDUAL_MAP if RESIDUAL_MAP in layers else MAP_LAYER, "conv"
    else:
        first, last, prefix = STEM_LAYER, BACKBONE_MAP, "block"
    if first not in layers:
        return []
    learned = {STEM_LAYER, last} if branch == BACKBONE else {last}
    names = [name for name in layers if name in learned or name.startswith(prefix)]
    return [layers[name] for name in names if getattr(layers[name], "kernel", None) is not None]


def _moments(model: keras.Model, crops: NDArray[np.uint8]) -> list[tuple[Array, Array]]:
    """Mean and variance (channels,) of each output (m, h, w, channels), summed in double precision."""
    count, sums = np.zeros(len(model.outputs)), [(0.0, 0.0)] * len(model.outputs)
    for start in range(0, len(crops), BATCH):
        for i, output in enumerate(model.predict_on_batch(crops[start : start + BATCH])):
            flat = np.asarray(output, np.float64).reshape(-1, output.shape[-1])
            count[i] += len(flat)
            sums[i] = sums[i][0] + flat.sum(axis=0), sums[i][1] + (flat**2).sum(axis=0)
    moments = [(total / n, squares / n - (total / n) ** 2) for n, (total, squares) in zip(count, sums, strict=True)]
    return [(np.asarray(m, np.float32), np.asarray(np.maximum(v, 0), np.float32)) for m, v in moments]


def _constants(graph: Any) -> dict[str, NDArray[Any]]:
    """Initializers, and what is computed from them alone: large kernels are stored as int16 with scales."""
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    for node in graph.node:
        values = [constants[name] for name in node.input if name in constants]
        if node.op_type == "Cast" and values:
            constants[node.output[0]] = values[0].astype(np.float32)
        elif node.op_type == "Mul" and len(values) == 2:
            constants[node.output[0]] = values[0] * values[1]
    return constants


def _first_convolution(node: Any, producers: dict[str, Any], constants: dict[str, NDArray[Any]]) -> Any:
    """The convolution nearest to the input on the way to a node; branches only meet behind their classifiers."""
    first, current = node, producers.get(node.input[0])
    while current is not None:
        first = current if current.op_type == "Conv" else first
        ahead = (producers[name] for name in current.input if name in producers and name not in constants)
        current = next(ahead, None)
    return first


def _branch(first: Any, constants: dict[str, NDArray[Any]]) -> str:
    shape = constants[first.input[1]].shape
    return RESIDUAL if shape == (12, 3, 4, 4) else BACKBONE if shape == (32, 3, 3, 3) else ""


def _folded(node: Any, constants: dict[str, NDArray[Any]], users: dict[str, list[Any]]) -> FoldedConvolution:
    """Kernel and bias of a convolution and of the multiplications and additions of constants behind it."""
    kernel = constants[node.input[1]].astype(np.float64)
    bias = constants[node.input[2]].astype(np.float64) if len(node.input) > 2 else np.zeros(len(kernel))
    name = node.output[0]
    while len(following := users.get(name, [])) == 1 and following[0].op_type in ("Mul", "Add"):
        value = next((constants[each] for each in following[0].input if each in constants), None)
        if value is None or value.size not in (1, len(kernel)):
            break
        flat = np.broadcast_to(value.reshape(-1).astype(np.float64), (len(kernel),))
        if following[0].op_type == "Mul":
            kernel, bias = kernel * flat[:, None, None, None], bias * flat
        else:
            bias = bias + flat
        name = following[0].output[0]
    depthwise = any(each.name == "group" and each.i > 1 for each in node.attribute)
    axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
    return FoldedConvolution(np.asarray(kernel.transpose(axes), np.float32), np.asarray(bias, np.float32))
