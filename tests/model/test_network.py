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

from deepfake_detector.errors import SettingsError
from deepfake_detector.model.export import export_onnx, load_trained, weights_sha256
from deepfake_detector.model.network import (
    BACKBONE_MAP,
    HIGH_PASS_LAYER,
    MAP_LAYER,
    RESIDUAL_MAP,
    SCALES_LAYER,
    build_network,
    classifier_layers,
    per_cell,
    portable_copy,
    with_logit_map,
)
from tests.small_networks import use_small_backbone


@pytest.fixture(autouse=True)
def _float32() -> Iterator[None]:
    yield
    keras.config.set_dtype_policy("float32")


def crops(n: int, side: int = 64) -> NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def logsumexp(values: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.exp(values.astype(np.float64)).sum(axis=-1)))


def outputs_of(model: keras.Model, *names: str) -> list[NDArray[np.float32]]:
    """Outputs of inner layers for four crops."""
    inner = keras.Model(model.input, [model.get_layer(name).output for name in names])
    return [np.asarray(output) for output in inner.predict(crops(4), verbose=0)]


@pytest.fixture
def small_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block of 8 channels per stage: it is faster to build, and no test depends on the others."""
    use_small_backbone(monkeypatch)


@pytest.mark.parametrize(
    ("name", "kinds", "outputs"),
    [("residual", 1, 1), ("residual", 2, 2), ("original", 2, 1), ("efficientnet_lite0", 2, 2), ("fused", 2, 2)],
)
@pytest.mark.usefixtures("small_backbone")
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


def test_the_fused_network_has_the_documented_size_and_map() -> None:
    network = build_network("fused", 128, 0.2, fused=True, kinds=2)
    assert network.count_params() == 3_826_406  # with the two moving deviations
    assert network.get_layer(MAP_LAYER).output.shape == (None, 8, 8, 2)
    assert network.get_layer(BACKBONE_MAP).output.shape == (None, 4, 4, 2)


@pytest.mark.usefixtures("small_backbone")
def test_the_map_of_the_fused_network_is_the_mean_of_both_branches() -> None:
    network = build_network("fused", 64, 0.2, kinds=2)
    residual, lite, both = outputs_of(network, RESIDUAL_MAP, BACKBONE_MAP, MAP_LAYER)
    assert np.allclose(both, (residual + lite.repeat(2, axis=1).repeat(2, axis=2)) / 2, atol=1e-5)


@pytest.mark.usefixtures("small_backbone")
def test_in_training_each_branch_has_its_own_output_and_no_scale() -> None:
    network = build_network("fused", 64, 0.0, fused=True, kinds=2)
    network.get_layer(SCALES_LAYER).set_weights([np.array([1.0, 4.0], np.float32)])
    trained = per_cell(network)
    assert trained.output.shape == (None, 4, 4, 2, 2)
    residual, lite = outputs_of(network, RESIDUAL_MAP, BACKBONE_MAP)
    lite = lite.repeat(2, axis=1).repeat(2, axis=2)
    outside = trained.predict(crops(4), verbose=0)
    assert np.allclose(outside[..., 0, :], residual * 2, atol=1e-4)  # the geometric mean of 1 and 4
    assert np.allclose(outside[..., 1, :], lite / 2, atol=1e-4)
    inside = np.asarray(trained(crops(4), training=True))
    assert not np.allclose(inside, outside, atol=1e-2)


@pytest.mark.usefixtures("small_backbone")
def test_the_portable_copy_of_the_fused_network_holds_its_scales(tmp_path: Path) -> None:
    network = build_network("fused", 64, 0.3, fused=True, kinds=2)
    network.get_layer(SCALES_LAYER).set_weights([np.array([0.5, 3.0], np.float32)])
    copy = portable_copy(network, 64)
    assert np.allclose(copy.predict(crops(4), verbose=0), network.predict(crops(4), verbose=0), atol=1e-4)
    assert SCALES_LAYER not in {layer.name for layer in copy.layers}
    again = portable_copy(copy, 64)
    assert weights_sha256(again) == weights_sha256(copy)
    copy.save(tmp_path / "m.keras")
    assert weights_sha256(load_trained(tmp_path / "m.keras")) == weights_sha256(copy)
    assert {layer.__class__.__module__.split(".")[0] for layer in load_trained(tmp_path / "m.keras").layers} == {
        "keras"
    }


def test_the_backbone_is_computed_in_float32_whatever_the_precision() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = build_network("fused", 64, 0.3, fused=True, kinds=2)
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    precisions = {layer.name: layer.compute_dtype for layer in network.layers}
    assert precisions["conv0_0"] == "bfloat16"
    assert {precision for name, precision in precisions.items() if name.startswith(("block", "stem"))} == {"float32"}


def test_a_side_that_the_backbone_would_cut_off_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"train\.network fused needs .* multiple of 32 px, not 72") as caught:
        build_network("fused", 72, 0.0)
    assert "prepare.side_px to 64" in caught.value.hint
    build_network("residual", 72, 0.0)


@pytest.mark.usefixtures("small_backbone")
@pytest.mark.parametrize(
    ("name", "layers"),
    [("residual", [MAP_LAYER]), ("original", ["decision"]), ("efficientnet_lite0", [BACKBONE_MAP]),
     ("fused", [BACKBONE_MAP, RESIDUAL_MAP])],
)  # fmt: skip
def test_classifier_layers(name: str, layers: list[str]) -> None:
    assert sorted(layer.name for layer in classifier_layers(build_network(name, 64, 0.0))) == layers


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


@pytest.mark.usefixtures("small_backbone")
@pytest.mark.parametrize(("name", "kinds"), [("residual", 1), ("residual", 2), ("efficientnet_lite0", 1), ("fused", 2)])
def test_the_exported_graph_gives_the_outputs_of_keras(name: str, kinds: int, tmp_path: Path) -> None:
    from deepfake_detector.openvino_graph import ov  # type: ignore[attr-defined]

    model = build_network(name, 64, 0.0, kinds=kinds)
    tolerance = 1e-3 if name == "fused" else 1e-4  # its large kernels are stored in 16 bits
    export_onnx(model, crops(5), tmp_path / "g.onnx", tmp_path / "r.npz")
    compiled = ov.Core().compile_model(tmp_path / "g.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with np.load(tmp_path / "r.npz") as reference:
        for n in (1, 5):  # any number of crops
            answer = compiled(reference["crops"][:n])
            for output in ("logits", "logit_map", "kinds"):
                assert answer[output].shape == reference[output][:n].shape
                assert np.allclose(answer[output], reference[output][:n], atol=tolerance)
