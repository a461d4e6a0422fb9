"""Vector scaling in the graph, and reproducible bytes of the ONNX export."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from deepfake_detector.model.export import export_onnx, load_trained, save_trained, weights_sha256, with_vector_scaling
from deepfake_detector.model.network import build_network, with_logit_map

SIDE = 32


def crops(n: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize(("name", "kinds"), [("residual", 1), ("residual", 2), ("original", 1)])
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


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    """tf2onnx numbers names per process, so without canonical names a second export would differ."""
    keras.utils.set_random_seed(1)
    model = build_network("residual", SIDE, 0.0, kinds=2)
    for name in "ab":
        export_onnx(model, crops(2), tmp_path / f"{name}.onnx", tmp_path / f"{name}.npz")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    onnx.checker.check_model(onnx.load(tmp_path / "a.onnx"), full_check=True)


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
