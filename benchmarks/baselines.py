"""Crops uint8 (n, side, side, 3) -> logits by Keras, TensorFlow and ONNX Runtime; a matrix product as limit.

Keras gets the same architecture with random weights: the sealed graph holds no Keras model, and time does not depend on
the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.io import suppress_native_stderr
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.parallel import available_cores

# Sixteen products of 512 x 512, each of the last one's result: 880 GFLOP per second of processor time with AMX, 590 for
# one of 1024, 420 for one of 2048, which wait for memory and change precision on the way in and out.
PRODUCT_SIDE, PRODUCTS = 512, 16


def keras_network(bundle: Bundle) -> Any:
    """A `keras.Model` from crops uint8 (n, side, side, 3) to logits (n,), float32 as it would be delivered."""
    with suppress_native_stderr():
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
    """Products of square matrices in the precision the engine uses, a chain of them per core; returns their GFLOP.

    A core each, as the engine computes its crops: where other work takes a core away, two that compute one product
    together wait for each other, and the limit would be too low.
    """
    # Through our own door, which stops OpenVINO's report to its maker.
    from deepfake_detector.openvino_graph import ov  # type: ignore[attr-defined]

    side, random = PRODUCT_SIDE, np.random.default_rng(0)
    given = ov.opset8.parameter([side, side], np.float32)
    product = given
    for _ in range(PRODUCTS):
        weights = (random.random((side, side), np.float32) - 0.5) / side
        product = ov.opset8.matmul(product, ov.opset8.constant(weights), False, False)
    how = {"NUM_STREAMS": available_cores(), "INFERENCE_NUM_THREADS": available_cores()}
    queue = ov.AsyncInferQueue(ov.Core().compile_model(ov.Model([product], [given]), "CPU", how), available_cores())
    first = random.random((side, side), np.float32)

    def work() -> float:
        for _ in range(available_cores()):
            queue.start_async([first], share_inputs=True)
        queue.wait_all()
        return available_cores() * PRODUCTS * 2 * side**3 / 1e9

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
    kernels = weights | shapes  # large kernels are stored as int16 and multiplied by their scales
    macs = sum(np.prod(kernels[node.input[1]]) * np.prod(shapes[node.output[0]][2:]) for node in convolutions)
    return float(2 * macs / 1e9)
