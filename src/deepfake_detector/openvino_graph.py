"""An ONNX graph -> the graph compiled for this processor by OpenVINO, and a pool of inference requests for threads."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

# On import OpenVINO sends telemetry and writes to the home folder; no setting turns that off. Where the telemetry
# package is missing, OpenVINO uses a stub.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # model conversion: a third of the import time
import openvino as ov  # noqa: E402
from openvino import CompiledModel as CompiledModel  # noqa: E402
from openvino import InferRequest as InferRequest  # noqa: E402


def compile_graph(
    graph: Path | bytes, shape: Sequence[int], precision: str | None, streams: int, channels_first: bool = False
) -> CompiledModel:
    """Compile a graph with one input, so that it takes uint8 pictures (n, height, width, 3).

    Args:
        graph: an ONNX file or its content.
        shape: of the graph's input; -1 for a side that varies.
        precision: "f32" to forbid bf16; None leaves it to OpenVINO, which picks bf16 where the processor supports it.
        streams: pictures computed in parallel, each on one core.
        channels_first: whether the graph's own input is (n, 3, height, width).

    Raises:
        RuntimeError: OpenVINO cannot compile it.
    """
    core = ov.Core()
    model = core.read_model(graph)
    model.reshape(list(shape))
    steps = ov.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.u8)
    if channels_first:
        steps.input().tensor().set_layout(ov.Layout("NHWC"))
        steps.input().model().set_layout(ov.Layout("NCHW"))
    # With pinning the first stream of every process runs on the same core, and a scan has a process per core.
    config: dict[str, str | int | bool] = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams}
    config["ENABLE_CPU_PINNING"] = False
    if precision:
        config["INFERENCE_PRECISION_HINT"] = precision
    return core.compile_model(steps.build(), "CPU", config)


class RequestPool:
    """Inference requests of a compiled graph, for any number of threads; each computes one picture at a time."""

    def __init__(self, compiled: CompiledModel) -> None:
        self._compiled = compiled
        self._idle: deque[InferRequest] = deque()  # append and pop are atomic

    def acquire(self) -> InferRequest:
        """A request for the caller's use only, until it is released."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._compiled.create_infer_request()

    def release(self, request: InferRequest) -> None:
        """Return a request that has finished."""
        self._idle.append(request)
