"""From a trained model to the graph that serves."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import onnx
import pytest

from deepfake_detector.model.export import export_graph, load_trained, rescaled, weights_sha256
from deepfake_detector.model.network import build_network, with_logit_map

SIDE = 32


def crops(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize(("name", "kinds"), [("residual", 1), ("residual", 2), ("original", 1)])
def test_weights_and_offsets_reach_every_place_of_their_kind(name: str, kinds: int) -> None:
    keras.utils.set_random_seed(1)
    model = build_network(name, SIDE, 0.0, kinds=kinds)
    before, digest = with_logit_map(model).predict(crops(3), verbose=0), weights_sha256(model)
    weights, offsets = np.array([2.0, 0.5][:kinds]), np.array([-1.25, 3.0][:kinds])
    after = with_logit_map(rescaled(model, weights, offsets)).predict(crops(3), verbose=0)
    assert np.allclose(after["kinds"], before["kinds"] * weights + offsets, atol=1e-4)
    assert np.allclose(after["logits"], np.logaddexp.reduce(after["kinds"], axis=1), atol=1e-4)
    if kinds == 1:
        assert np.allclose(after["logit_map"], before["logit_map"] * 2 - 1.25, atol=1e-3)
    assert weights_sha256(model) == digest  # the trained weights stay as they were


def test_the_same_weights_give_the_same_bytes(tmp_path) -> None:
    """tf2onnx counts on and makes sets of names: the second graph of one process would have others."""
    keras.utils.set_random_seed(1)
    model = build_network("residual", SIDE, 0.0, kinds=2)
    for name in "ab":
        export_graph(model, crops(2), tmp_path / f"{name}.onnx", tmp_path / f"{name}.npz")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    onnx.checker.check_model(onnx.load(tmp_path / "a.onnx"), full_check=True)


def test_a_model_of_an_earlier_process_is_exported(tmp_path) -> None:
    """Keras counts the names of operations per process: those of a loaded model must not clash with new ones."""
    build_network("residual", SIDE, 0.0, kinds=2).save(tmp_path / "m.keras")
    keras.backend.clear_session()  # as in a new process
    model = load_trained(tmp_path / "m.keras")
    keras.backend.clear_session()
    export_graph(model, crops(2), tmp_path / "g.onnx", tmp_path / "r.npz")
    with np.load(tmp_path / "r.npz") as reference:
        assert set(reference) == {"crops", "logits", "logit_map", "kinds"}
    assert (tmp_path / "g.onnx").stat().st_size > 10_000
