"""An ONNX graph -> the graph compiled for this processor by OpenVINO, and a pool of inference requests for threads."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

# On import OpenVINO sends telemetry and writes to the home folder; no setting turns that off. Where the telemetry
# package is missing, OpenVINO uses a stub.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # model conversion: a third of the import time
import openvino as ov  # noqa: E402
from openvino import CompiledModel as CompiledModel  # noqa: E402
from openvino import InferRequest as InferRequest  # noqa: E402

# A graph whose only operation has the mark "keep the precision of the graph".
_MARKED = b"""<net name="marked" version="11"><layers>
<layer id="0" name="in" type="Parameter" version="opset1"><data shape="1" element_type="f32"/>
<output><port id="0" precision="FP32"><dim>1</dim></port></output></layer>
<layer id="1" name="marked" type="ReLU" version="opset1"><rt_info><attribute name="precise" version="0"/></rt_info>
<input><port id="0" precision="FP32"><dim>1</dim></port></input>
<output><port id="1" precision="FP32"><dim>1</dim></port></output></layer>
<layer id="2" name="out" type="Result" version="opset1">
<input><port id="0" precision="FP32"><dim>1</dim></port></input></layer>
</layers><edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>
<edge from-layer="1" from-port="1" to-layer="2" to-port="0"/></edges></net>"""


def compile_graph(
    graph: Path | bytes, shape: Sequence[int], precision: str | None, streams: int, channels_first: bool = False
) -> CompiledModel:
    """Compile a graph with one input, so that it takes uint8 pictures (n, height, width, 3).

    Args:
        graph: an ONNX file or its content.
        shape: of the graph's input; -1 for a side that varies.
        precision: "f32" to forbid bf16; None leaves it to OpenVINO, which picks bf16 where the processor supports it,
            except for branches with depthwise convolutions, which are computed in float32.
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
    model = steps.build()
    _keep_depthwise_float32(core, model)
    return core.compile_model(model, "CPU", config)


def _keep_depthwise_float32(core: ov.Core, model: ov.Model) -> None:
    """Mark all that depthwise convolutions depend on, and all that depends on them: it is computed in float32.

    In bf16 the logit of the network `fused` was wrong by 0.09 on average and by 0.33 at most, in this way by 0.009 and
    0.03, at the same speed (two cores with AVX512-bf16). Where a version of OpenVINO ignores the mark, the engine's
    test against the sealed outputs fails, and all is computed in float32.
    """
    operations = model.get_ordered_ops()
    depthwise = [node for node in operations if node.get_type_name() == "GroupConvolution"]
    if not depthwise:
        return
    names = _reachable(depthwise, lambda node: (each.get_source_output().get_node() for each in node.inputs()))
    names |= _reachable(
        depthwise, lambda node: (user.get_node() for each in node.outputs() for user in each.get_target_inputs())
    )
    # Python cannot create the mark, but it can copy the one of an operation that was read from OpenVINO's own format.
    marked = next(node for node in core.read_model(_MARKED, b"").get_ordered_ops() if node.get_type_name() == "Relu")
    marks = [(marked.get_rt_info()[key], key) for key in marked.get_rt_info()]
    for node in operations:
        for mark in marks if node.get_friendly_name() in names else []:
            node.set_rt_info(*mark)


def _reachable(nodes: Iterable[Any], neighbours: Callable[[Any], Iterable[Any]]) -> set[str]:
    """Names of these nodes and of all that are reached from them."""
    waiting, names = list(nodes), {node.get_friendly_name() for node in nodes}
    while waiting:
        for node in neighbours(waiting.pop()):
            if node.get_friendly_name() not in names:
                names.add(node.get_friendly_name())
                waiting.append(node)
    return names


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
