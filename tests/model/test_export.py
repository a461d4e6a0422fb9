"""Vector scaling in the graph, and reproducible bytes of the ONNX export."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tf2onnx.graph import Graph

from deepfake_detector.model import export
from deepfake_detector.model.export import (
    branch_logits,
    export_onnx,
    load_trained,
    save_trained,
    weights_sha256,
    with_branch_weights,
    with_vector_scaling,
)
from deepfake_detector.model.network import build_network, with_logit_map
from tests.small_networks import use_small_backbone

SIDE = 32


def crops(n: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _small_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block of 8 channels per stage: it is faster to build, and no test depends on the others."""
    use_small_backbone(monkeypatch)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("residual", 1),
        ("residual", 2),
        ("original", 1),
        ("efficientnet_lite0", 1),
        ("efficientnet_lite0", 2),
        ("fused", 2),
    ],
)
def test_vector_scaling_applies_to_every_cell_of_a_kind(name: str, kinds: int) -> None:
    keras.utils.set_random_seed(1)
    model = build_network(name, SIDE, 0.0, kinds=kinds)
    before, digest = with_logit_map(model).predict(crops(3), verbose=0), weights_sha256(model)
    weights, offsets = [2.0, 0.5][:kinds], [-1.25, 3.0][:kinds]
    after = with_logit_map(with_vector_scaling(model, weights, offsets)).predict(crops(3), verbose=0)
    assert np.allclose(after["kinds"], before["kinds"] * np.array(weights) + offsets, atol=1e-4)
    assert np.allclose(after["logits"], np.logaddexp.reduce(after["kinds"], axis=1), atol=1e-4)
    if kinds == 1:
        assert np.allclose(after["logit_map"], before["logit_map"] * 2 - 1.25, atol=1e-3)
    assert weights_sha256(model) == digest  # the trained model is not modified


def test_branch_weights_apply_to_their_branch_and_kind() -> None:
    keras.utils.set_random_seed(1)
    model = build_network("fused", SIDE, 0.0, kinds=2)
    before, weights = branch_logits(model, crops(3)), np.array([[2.0, 0.5], [0.0, 3.0]])
    after = branch_logits(with_branch_weights(model, weights), crops(3))
    assert before.shape == (3, 2, 2)
    assert np.allclose(after, before * weights, atol=1e-5)
    mean = with_logit_map(with_branch_weights(model, weights)).predict(crops(3), verbose=0)["kinds"]
    assert np.allclose(mean, (before * weights).mean(axis=1), atol=1e-4)
    assert branch_logits(build_network("residual", SIDE, 0.0, kinds=2), crops(3)).shape == (3, 1, 2)


@pytest.mark.parametrize("name", ["residual", "fused"])
def test_the_same_weights_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    """tf2onnx numbers names per process, so without canonical names a second export would differ."""
    keras.utils.set_random_seed(1)
    model = build_network(name, SIDE, 0.0, kinds=2)
    for name in "ab":
        export_onnx(model, crops(2), tmp_path / f"{name}.onnx", tmp_path / f"{name}.npz")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    onnx.checker.check_model(onnx.load(tmp_path / "a.onnx"), full_check=True)


def test_the_bytes_do_not_depend_on_the_hash_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tf2onnx keeps the consumers of a tensor in a set of strings; another order gave another graph."""
    keras.utils.set_random_seed(1)
    model, consumers = build_network("residual", SIDE, 0.0), Graph.find_output_consumers
    for layer in model.layers:  # as after a training
        if layer.name.endswith("_norm"):
            layer.set_weights([np.random.default_rng(1).uniform(0.5, 2, each.shape) for each in layer.get_weights()])
    for name, step in (("a", 1), ("b", -1)):

        def ordered(graph: Graph, output: str, step: int = step) -> list[Any]:
            return sorted(consumers(graph, output), key=lambda node: node.name)[::step]

        monkeypatch.setattr(Graph, "find_output_consumers", ordered)
        export_onnx(model, crops(2), tmp_path / f"{name}.onnx", tmp_path / f"{name}.npz")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_loaded_model_is_exported(tmp_path: Path) -> None:
    """Keras numbers operation names per process: those of a loaded model must not clash with new ones."""
    build_network("residual", SIDE, 0.0, kinds=2).save(tmp_path / "m.keras")
    keras.backend.clear_session()  # as in a new process
    model = load_trained(tmp_path / "m.keras")
    keras.backend.clear_session()
    export_onnx(model, crops(2), tmp_path / "g.onnx", tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz") as reference:
        assert set(reference) == {"crops", "logits", "logit_map", "kinds"}
    assert (tmp_path / "g.onnx").stat().st_size > 10_000


def test_a_model_is_saved_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "model.keras"
    model = build_network("residual", SIDE, 0.0)
    save_trained(model, path)
    assert weights_sha256(load_trained(path)) == weights_sha256(model)
    before = path.read_bytes()

    def write_half(target: Path) -> None:
        target.write_bytes(before[: len(before) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(model, "save", write_half)
    with pytest.raises(OSError, match="disk full"):
        save_trained(model, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_large_kernels_of_a_network_with_a_backbone_are_stored_in_16_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half the file, and no probability changes by more than 1e-3."""
    from deepfake_detector.openvino_graph import compile_graph

    model = build_network("fused", SIDE, 0.0, kinds=2)
    for layer in model.layers:  # as after a training: channels of different size
        if layer.name.endswith("_norm"):
            gamma, *others = layer.get_weights()
            layer.set_weights([gamma * np.random.default_rng(1).uniform(0.5, 2, gamma.shape), *others])
    logits, sizes = [], []
    for compact in (True, False):
        if not compact:
            monkeypatch.setattr(export, "_store_in_16_bits", lambda path: None)
        graph = tmp_path / f"{compact}.onnx"
        export_onnx(model, crops(2), graph, tmp_path / "r.npz")
        compiled = compile_graph(graph, (1, SIDE, SIDE, 3), "f32", 1)
        logits.append([float(compiled(crop[None])["logits"][0]) for crop in crops(32)])
        sizes.append(graph.stat().st_size)
    half, whole = (1 / (1 + np.exp(-np.array(values))) for values in logits)
    assert np.std(whole) > 0.005
    assert 0 < np.abs(half - whole).max() < 1e-3
    assert sizes[0] < 0.6 * sizes[1]


def test_a_network_without_backbone_is_stored_as_before(tmp_path: Path) -> None:
    export_onnx(build_network("residual", SIDE, 0.0), crops(2), tmp_path / "g.onnx", tmp_path / "r.npz")
    assert {constant.data_type for constant in onnx.load(tmp_path / "g.onnx").graph.initializer} <= {
        onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.INT32,
    }  # fmt: skip
