"""The networks: output shapes, exactness of the residual, the portable copy, the exported graph."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.model.export import export_onnx, load_trained, weights_sha256
from deepfake_detector.model.network import HIGH_PASS_LAYER, build_network, per_cell, portable_copy, with_logit_map


@pytest.fixture(autouse=True)
def _float32() -> Iterator[None]:
    yield
    keras.config.set_dtype_policy("float32")


def crops(n: int, side: int = 64) -> NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def logsumexp(values: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.exp(values.astype(np.float64)).sum(axis=-1)))


@pytest.mark.parametrize(("name", "kinds", "outputs"), [("residual", 1, 1), ("residual", 2, 2), ("original", 2, 1)])
def test_output_shapes(name: str, kinds: int, outputs: int) -> None:
    network = build_network(name, 64, 0.2, kinds=kinds)
    answer = with_logit_map(network).predict(crops(3), verbose=0)
    assert answer["kinds"].shape == (3, outputs)
    assert answer["logits"].shape == (3,)
    assert answer["logits"].dtype == np.float32
    assert np.allclose(answer["logits"], logsumexp(answer["kinds"]), atol=1e-5)
    found = per_cell(network).predict(crops(3), verbose=0)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), answer["kinds"], rtol=1e-5, atol=1e-6)
    assert answer["logit_map"].shape == ((3, 1, 1) if name == "original" else (3, 4, 4))
    if outputs == 1:
        assert np.allclose(answer["logit_map"].mean(axis=(1, 2)), answer["logits"], atol=1e-5)


def test_a_cell_of_the_map_is_the_logit_of_its_part_of_the_crop() -> None:
    """In a picture of identical tiles, all cells away from the border have the same logit."""
    network = build_network("residual", 256, 0.0, kinds=2)
    tiles = np.tile(crops(1, 16), (1, 16, 16, 1))
    answer = with_logit_map(network).predict(tiles, verbose=0)
    inner = answer["logit_map"][0, 6:10, 6:10]  # a cell's receptive field reaches 68 px
    assert np.allclose(inner, inner[0, 0], atol=1e-4)
    cells = keras.Model(network.input, network.get_layer("kinds_map").output).predict(tiles, verbose=0)
    assert np.allclose(answer["logit_map"], logsumexp(cells), atol=1e-5)
    assert np.allclose(answer["kinds"], cells.mean(axis=(1, 2)), atol=1e-5)


def test_with_mirroring_a_flipped_crop_gets_the_flipped_answer() -> None:
    network = build_network("residual", 64, 0.0, kinds=2)
    once, both = with_logit_map(network), with_logit_map(network, mirrored=True)
    straight, flipped = both.predict(crops(3), verbose=0), both.predict(crops(3)[:, :, ::-1], verbose=0)
    assert np.allclose(straight["logits"], flipped["logits"], atol=1e-5)
    assert np.allclose(straight["logit_map"], flipped["logit_map"][:, :, ::-1], atol=1e-4)
    alone = [once.predict(view, verbose=0)["kinds"] for view in (crops(3), crops(3)[:, :, ::-1])]
    assert np.allclose(straight["kinds"], np.mean(alone, axis=0), atol=1e-5)
    assert not np.allclose(alone[0], alone[1], atol=1e-3)


def test_residual_has_fewer_than_1_5_million_parameters() -> None:
    assert build_network("residual", 128, 0.0).count_params() < 1_500_000


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_residual_is_exact_in_either_precision(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    model = build_network("residual", 32, 0.0)
    x = crops(2, 32)
    found = keras.Model(model.input, model.get_layer(HIGH_PASS_LAYER).output).predict(x, verbose=0).astype(np.float32)
    x = x.astype(np.float32)
    wide = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    around = sum(wide[:, 1 + i : 33 + i, 1 + j : 33 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)) - x
    residual = (8 * x - around) / 128
    pixels = [residual[:, row::2, column::2] for row, column in ((0, 0), (0, 1), (1, 0), (1, 1))]
    # The products are exact; bfloat16 keeps eight bits of the sum.
    np.testing.assert_allclose(found, np.concatenate(pixels, -1), rtol=0 if policy == "float32" else 2**-8)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_uniform_crops_get_the_same_logit(policy: str) -> None:
    """The residual of a uniform picture is 0, whatever its colour."""
    keras.config.set_dtype_policy(policy)
    model = build_network("residual", 64, 0.0)
    uniform = [np.full((1, 64, 64, 3), value, np.uint8) for value in (0, 90, 255)]
    assert len({float(model.predict(x, verbose=0)[0]) for x in uniform}) == 1


def test_the_same_seed_builds_the_same_weights() -> None:
    digests = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        digests.append(weights_sha256(build_network("residual", 64, 0.0)))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(("name", "kinds"), [("residual", 1), ("residual", 2), ("original", 1)])
def test_the_portable_copy_gives_the_same_logits_and_loads_without_our_code(
    name: str, kinds: int, tmp_path: Path
) -> None:
    trained = build_network(name, 64, 0.2, fused=True, kinds=kinds)
    copy = portable_copy(trained, 64)
    assert np.allclose(copy.predict(crops(4), verbose=0), trained.predict(crops(4), verbose=0), atol=1e-4)
    copy.save(tmp_path / "m.keras")
    loaded = load_trained(tmp_path / "m.keras")
    assert weights_sha256(loaded) == weights_sha256(copy)
    assert {layer.__class__.__module__.split(".")[0] for layer in loaded.layers} == {"keras"}


@pytest.mark.parametrize("kinds", [1, 2])
def test_the_exported_graph_gives_the_outputs_of_keras(kinds: int, tmp_path: Path) -> None:
    from deepfake_detector.openvino_graph import ov  # type: ignore[attr-defined]

    model = build_network("residual", 64, 0.0, kinds=kinds)
    export_onnx(model, crops(5), tmp_path / "g.onnx", tmp_path / "r.npz")
    compiled = ov.Core().compile_model(tmp_path / "g.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with np.load(tmp_path / "r.npz") as reference:
        for n in (1, 5):  # any number of crops
            answer = compiled(reference["crops"][:n])
            for name in ("logits", "logit_map", "kinds"):
                assert answer[name].shape == reference[name][:n].shape
                assert np.allclose(answer[name], reference[name][:n], atol=1e-4)
