"""The network that ships, in other people's hands: Keras, TensorFlow, ONNX Runtime, and one large matrix product.

Keras gets the same architecture with random weights: the sealed graph holds no Keras model, and the time a network
takes does not hang on what it has learnt.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.model.bundle import Bundle
from pipelines.stage import quietly

PRODUCT_SIDE = 1024  # some milliseconds each: short enough to fall between two interruptions


def keras_network(bundle: Bundle) -> Any:
    """A `keras.Model` from crops uint8 (n, side, side, 3) to logits (n,), float32 as it would be delivered."""
    with quietly():
        from deepfake_detector.model.network import build_network
    contract = bundle.contract
    return build_network(contract.network, contract.side_px, dropout=0.0, kinds=len(contract.kinds))


def tensorflow_function(model: Any) -> Callable[[NDArray[np.uint8]], Any]:
    """The network as one graph, without what `predict` does around it."""
    import tensorflow as tf

    graph = tf.function(lambda crops: model(crops, training=False), reduce_retracing=True)
    return lambda crops: graph(tf.constant(crops)).numpy()


def onnx_runtime(graph: Path) -> Callable[[NDArray[np.uint8]], Any]:
    """The sealed graph in ONNX Runtime, with all cores."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    # The types of the graph's inputs differ: uint8 in some bundles, float in others.
    dtype = np.uint8 if session.get_inputs()[0].type == "tensor(uint8)" else np.float32
    name = session.get_inputs()[0].name
    return lambda crops: session.run(None, {name: crops.astype(dtype)})


def matrix_product() -> Callable[[], float]:
    """One product of two large square matrices in the precision the engine uses, on all cores; returns its GFLOP."""
    # Through our own door, which stops OpenVINO's report to its maker.
    from deepfake_detector.inference import ov  # type: ignore[attr-defined]

    side = PRODUCT_SIDE
    left = ov.opset8.parameter([side, side], np.float32)
    right = ov.opset8.constant(np.random.default_rng(0).random((side, side), np.float32))
    model = ov.Model([ov.opset8.matmul(left, right, False, False)], [left])
    compiled = ov.Core().compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    given = np.random.default_rng(1).random((side, side), np.float32)

    def work() -> float:
        request.infer([given], share_inputs=True)
        return 2 * side**3 / 1e9

    return work


def gflop_per_crop(graph: Path) -> float:
    """Multiplications and additions of the convolutions for one crop, in GFLOP; all else is next to nothing."""
    import onnx

    model = onnx.load(str(graph))
    weights = {each.name: tuple(each.dims) for each in model.graph.initializer}
    for given in model.graph.input:
        given.type.tensor_type.shape.dim[0].dim_value = 1
    shapes = {
        each.name: tuple(dim.dim_value for dim in each.type.tensor_type.shape.dim)
        for each in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    macs = sum(np.prod(weights[node.input[1]]) * np.prod(shapes[node.output[0]][2:]) for node in convolutions)
    return float(2 * macs / 1e9)
