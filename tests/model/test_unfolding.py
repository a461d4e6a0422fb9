"""The graph of a bundle becomes a Keras network that computes the same, with statistics that fit the crops."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.model.export import export_onnx
from deepfake_detector.model.network import build_network
from deepfake_detector.model.unfolding import BACKBONE, RESIDUAL, branch_convolutions, folded_convolutions, unfold
from tests.small_networks import use_small_backbone, use_small_residual

SIDE_PX = 32
PRETRAINED = Path(__file__).parents[2] / "pretrained"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few layers: each is measured by a network of its own."""
    use_small_backbone(monkeypatch)


@pytest.fixture
def _three_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_residual(monkeypatch)


def crops(n: int, side_px: int = SIDE_PX) -> NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, side_px, side_px, 3), dtype=np.uint8)


def as_trained(name: str) -> keras.Model:
    """Normalisation layers with weights that a training could leave."""
    model, rng = build_network(name, SIDE_PX, 0.0, kinds=2), np.random.default_rng(1)
    for layer in model.layers:
        if layer.name.endswith("_norm"):
            shape = layer.get_weights()[0].shape
            # Through many layers of random kernels a smaller gamma would leave no difference between crops.
            gamma = (0.5, 2.0) if layer.name.startswith("conv") else (2.0, 5.0)
            ranges = (gamma, (-1.0, 1.0), (-0.5, 0.5), (0.5, 2.0))
            layer.set_weights([rng.uniform(*each, shape) for each in ranges])
        elif layer.name.endswith("kinds_map") and layer.weights:
            layer.set_weights([array + rng.normal(0, 0.1, array.shape) for array in layer.get_weights()])
    return model


@pytest.mark.parametrize(
    ("name", "branches"),
    [("residual", [RESIDUAL]), ("efficientnet_lite0", [BACKBONE]), ("fused", [BACKBONE, RESIDUAL])],
)
@pytest.mark.usefixtures("_three_levels")
def test_the_unfolded_network_computes_what_the_graph_computes(name: str, branches: list[str], tmp_path: Path) -> None:
    model = as_trained(name)
    export_onnx(model, crops(2), tmp_path / "g.onnx", tmp_path / "r.npz", mirrored=name == "fused")
    found = folded_convolutions(tmp_path / "g.onnx")
    assert sorted(found) == branches
    again = build_network(name, SIDE_PX, 0.0, kinds=2)
    for branch, convolutions in found.items():
        unfold(again, branch, convolutions, crops(70))
    expected = model.predict(crops(20), verbose=0)
    assert np.std(expected) > 0.01
    assert np.allclose(again.predict(crops(20), verbose=0), expected, atol=1e-3 if BACKBONE in branches else 1e-4)


@pytest.mark.usefixtures("_three_levels")
def test_its_normalisation_has_the_statistics_of_the_crops(tmp_path: Path) -> None:
    """In training mode, which normalises with those of the batch, the network then computes nearly the same."""
    export_onnx(as_trained("residual"), crops(2), tmp_path / "g.onnx", tmp_path / "r.npz")
    again, given = build_network("residual", SIDE_PX, 0.0, kinds=2), crops(64)
    unfold(again, RESIDUAL, folded_convolutions(tmp_path / "g.onnx")[RESIDUAL], given)
    training, outside = (np.asarray(again(given, training=training)) for training in (True, False))
    assert np.allclose(training, outside, atol=1e-3)


def test_the_shipped_bundle_is_unfolded_to_the_same_logits() -> None:
    contract, found = read_bundle(PRETRAINED).contract, folded_convolutions(PRETRAINED / "detector.onnx")
    model = build_network("residual", contract.side_px, 0.0, kinds=len(contract.kinds))
    with np.load(PRETRAINED / "reference.npz") as reference:
        given = {name: reference[name] for name in ("crops", "logits", "kinds")}
    unfold(model, RESIDUAL, found[RESIDUAL], np.concatenate([given["crops"], crops(16, contract.side_px)]))
    if contract.network == "residual":
        assert np.abs(model.predict(given["crops"], verbose=0) - given["logits"]).max() < 1e-4


@pytest.mark.usefixtures("_three_levels")
def test_a_branch_of_another_shape_is_refused(tmp_path: Path) -> None:
    export_onnx(as_trained("residual"), crops(2), tmp_path / "g.onnx", tmp_path / "r.npz")
    convolutions = folded_convolutions(tmp_path / "g.onnx")[RESIDUAL]
    with pytest.raises(ValueError, match=r"the branch residual has kernels .*, expected"):
        unfold(build_network("residual", SIDE_PX, 0.0, kinds=1), RESIDUAL, convolutions, crops(4))
    with pytest.raises(ValueError, match=r"expected \[\]"):
        unfold(build_network("efficientnet_lite0", SIDE_PX, 0.0), RESIDUAL, convolutions, crops(4))


def test_networks_without_a_branch_have_no_convolutions_of_it() -> None:
    found = {
        (name, branch): len(branch_convolutions(build_network(name, SIDE_PX, 0.0), branch))
        for name in ("residual", "plain", "original", "efficientnet_lite0", "fused")
        for branch in (RESIDUAL, BACKBONE)
    }
    assert [key for key, count in found.items() if count] == [
        ("residual", RESIDUAL), ("efficientnet_lite0", BACKBONE), ("fused", RESIDUAL), ("fused", BACKBONE),
    ]  # fmt: skip
    assert found["fused", RESIDUAL] == found["residual", RESIDUAL] == 9
