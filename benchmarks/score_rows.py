"""One aligned face, and sixty-four of them: the engine against Keras, TensorFlow, ONNX Runtime and the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.baselines import gflop_per_crop, keras_network, matrix_product, onnx_runtime, tensorflow_function
from benchmarks.material import Material
from benchmarks.timing import Comparison, Variant, compare, rate, row
from deepfake_detector.inference.engine import Engine

BATCH, ROUNDS = 64, 7
PIECE, PIECES = 16, 8  # crops at a time, and how often: both ways are taken at their best, as a limit must be
ONE_BY_ONE = 60.0  # goals of issue 7
ONNX = 2.0


def score_rows(material: Material) -> Iterator[Comparison]:
    """Every row."""
    bundle = material.bundle
    crops = material.crops(material.some(BATCH))
    engine, model = Engine(bundle), keras_network(bundle)
    onnx, graph = onnx_runtime(bundle.graph), tensorflow_function(model)
    rounds = material.some(ROUNDS)
    single = [
        Variant("model.predict", _singly(lambda crop: model.predict(crop, verbose=0), crops[:8])),
        Variant("TensorFlow function", _singly(graph, crops)),
        Variant("ONNX Runtime", _singly(onnx, crops)),
    ]
    yield from compare(
        "score one face",
        Variant("engine", _singly(engine.score, crops)),
        single,
        "face",
        rounds,
        (ONE_BY_ONE, None, ONNX),
    )
    batch = [
        Variant("model.predict, the batch", _together(lambda all_: model.predict(all_, len(all_), verbose=0), crops)),
        Variant("TensorFlow function", _together(graph, crops)),
        Variant("ONNX Runtime", _together(onnx, crops)),
    ]
    name = f"score {len(crops)} faces"
    yield from compare(
        name, Variant("engine", _together(engine.score, crops)), batch, "face", rounds, (None, None, ONNX)
    )
    yield _peak(engine, crops, rounds)


def _singly(ask: Callable[[NDArray[np.uint8]], Any], crops: NDArray[np.uint8]) -> Callable[[], int]:
    def work() -> int:
        for i in range(len(crops)):
            ask(crops[i : i + 1])
        return len(crops)

    return work


def _together(ask: Callable[[NDArray[np.uint8]], Any], crops: NDArray[np.uint8]) -> Callable[[], int]:
    def work() -> int:
        ask(crops)
        return len(crops)

    return work


def _peak(engine: Engine, crops: NDArray[np.uint8], rounds: int) -> Comparison:
    """How much of what the machine multiplies at best the engine uses."""
    gflop = gflop_per_crop(engine.bundle.graph)
    product, score = matrix_product(), _together(engine.score, crops[:PIECE])
    figures = [(gflop * _best(score, PIECES), _best(product, 5 * PIECES)) for _ in range(rounds + 1)][1:]
    return row("arithmetic, of the machine's own", ("engine", "large matrix products"), "GFLOP", figures)


def _best(work: Callable[[], float], times: int) -> float:
    return max(rate(work) for _ in range(times))
