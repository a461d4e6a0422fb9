"""An ONNX graph -> the same, compiled for this processor by OpenVINO, and requests to it that threads borrow."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

# On import OpenVINO reports to its maker, unasked, and writes to the home folder; where this package is missing it
# uses a stub instead. There is no setting for it.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # converts models: a third of the import
import openvino as ov  # noqa: E402
from openvino import CompiledModel as CompiledModel  # noqa: E402
from openvino import InferRequest as InferRequest  # noqa: E402


def compile_graph(
    graph: Path | bytes, shape: Sequence[int], precision: str | None, streams: int, planes: bool = False
) -> CompiledModel:
    """Compile a graph of one input, which takes uint8 pictures (n, height, width, 3) from then on.

    Args:
        graph: an ONNX file or its content.
        shape: of the graph's input; -1 for a side that changes from picture to picture.
        precision: "f32" to forbid bf16; None leaves it to OpenVINO, which picks bf16 where the processor multiplies it.
        streams: pictures computed at the same time, each on one core.
        planes: the graph's own input is (n, 3, height, width).

    Raises:
        RuntimeError: OpenVINO cannot use it.
    """
    core = ov.Core()
    model = core.read_model(graph)
    model.reshape(list(shape))
    steps = ov.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8)
    if planes:
        steps.input().tensor().set_layout(ov.Layout("NHWC"))
        steps.input().model().set_layout(ov.Layout("NCHW"))
    # Unpinned: else the first stream of every process is tied to the same core, and a scan has a process per core.
    config: dict[str, str | int | bool] = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams}
    config["ENABLE_CPU_PINNING"] = False
    if precision:
        config["INFERENCE_PRECISION_HINT"] = precision
    return core.compile_model(steps.build(), "CPU", config)


class Requests:
    """Requests to a compiled graph: each computes one picture at a time, and idle ones wait here for the next."""

    def __init__(self, compiled: CompiledModel) -> None:
        self._compiled = compiled
        self._idle: deque[InferRequest] = deque()  # its append and pop are atomic

    def take(self) -> InferRequest:
        """One that nobody else uses until it is given back."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._compiled.create_infer_request()

    def give(self, request: InferRequest) -> None:
        """Hand one back that has finished."""
        self._idle.append(request)
