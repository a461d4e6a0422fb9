"""Branches with depthwise convolutions are computed in float32; other graphs are compiled as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from deepfake_detector import openvino_graph
from deepfake_detector.openvino_graph import compile_graph, ov  # type: ignore[attr-defined]

SIDE_PX, CHANNELS = 16, 32
BF16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def write_graph(path: Path, depthwise: bool) -> None:
    """Crops (n, side, side, 3) -> outputs of two branches of three convolutions; one of `second` may be depthwise."""
    rng = np.random.default_rng(0)
    shapes = {"first": [(CHANNELS, 3, 3, 3), (CHANNELS, CHANNELS, 3, 3), (1, CHANNELS, 1, 1)]}
    middle = (CHANNELS, 1, 3, 3) if depthwise else (CHANNELS, CHANNELS, 3, 3)
    shapes["second"] = [shapes["first"][0], middle, shapes["first"][2]]
    nodes = [
        helper.make_node("Cast", ["crops"], ["float"], to=TensorProto.FLOAT, name="cast"),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2], name="planes"),
    ]
    constants = []
    for branch, kernels in shapes.items():
        value = "planes"
        for i, shape in enumerate(kernels):
            name = f"{branch}{i}"
            constants.append(numpy_helper.from_array(rng.normal(0, 1, shape).astype(np.float32) / 9, f"{name}_kernel"))
            out = branch if i == 2 else name
            group = CHANNELS if shape[1] == 1 else 1
            pads = [shape[2] // 2] * 4
            nodes.append(helper.make_node("Conv", [value, f"{name}_kernel"], [out], name=name, group=group, pads=pads))
            value = out
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, SIDE_PX, SIDE_PX]) for name in shapes]
    inputs = [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["n", SIDE_PX, SIDE_PX, 3])]
    graph = helper.make_graph(nodes, "branches", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def run(path: Path, precision: str | None) -> dict[str, NDArray[np.float32]]:
    compiled = compile_graph(path, (1, SIDE_PX, SIDE_PX, 3), precision, 1)
    crops = np.random.default_rng(1).integers(0, 256, (1, SIDE_PX, SIDE_PX, 3), np.uint8)
    found = compiled(crops)
    return {name: np.array(found[name]) for name in ("first", "second")}


def marked(path: Path) -> set[str]:
    """Convolutions that must be computed in float32."""
    core = ov.Core()
    model = core.read_model(path)
    openvino_graph._keep_depthwise_float32(core, model)
    operations = [node for node in model.get_ordered_ops() if node.get_type_name().endswith("Convolution")]
    marks = {"DisablePrecisionConversion_0", "precise_0"}  # in newer and in older versions
    return {node.get_friendly_name() for node in operations if marks & set(node.get_rt_info())}


def test_only_the_branch_with_a_depthwise_convolution_is_marked(tmp_path: Path) -> None:
    write_graph(tmp_path / "g.onnx", depthwise=True)
    assert marked(tmp_path / "g.onnx") == {"second0", "second1", "second"}


def test_a_graph_without_depthwise_convolutions_is_not_changed(tmp_path: Path) -> None:
    write_graph(tmp_path / "g.onnx", depthwise=False)
    assert marked(tmp_path / "g.onnx") == set()


@pytest.mark.parametrize("depthwise", [True, False])
def test_the_outputs_are_those_of_float32(tmp_path: Path, depthwise: bool) -> None:
    write_graph(tmp_path / "g.onnx", depthwise)
    exact, found = run(tmp_path / "g.onnx", "f32"), run(tmp_path / "g.onnx", None)
    errors = {name: np.abs(found[name] - exact[name]).max() / np.abs(exact[name]).max() for name in exact}
    assert max(errors.values()) < 0.02  # bf16 keeps eight bits
    if depthwise:
        assert errors["second"] < 1e-5
    if BF16:
        assert errors["first"] > 1e-4  # the other branch keeps its speed
