"""The networks: shapes, exactness of the residual, what is delivered, what is exported."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest

from deepfake_detector.model.export import export_graph, load_trained, weights_sha256
from deepfake_detector.model.network import FIXED_LAYER, build_network, by_place, delivered, with_logit_map


@pytest.fixture(autouse=True)
def _float32():
    yield
    keras.config.set_dtype_policy("float32")


def crops(n: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def logsumexp(values: np.ndarray) -> np.ndarray:
    return np.log(np.exp(values.astype(np.float64)).sum(axis=-1))


@pytest.mark.parametrize(("name", "kinds", "told"), [("residual", 1, 1), ("residual", 2, 2), ("original", 2, 1)])
def test_logits_kinds_and_map(name: str, kinds: int, told: int) -> None:
    whole = build_network(name, 64, 0.2, kinds=kinds)
    answer = with_logit_map(whole).predict(crops(3), verbose=0)
    assert answer["kinds"].shape == (3, told)
    assert answer["logits"].shape == (3,)
    assert answer["logits"].dtype == np.float32
    assert np.allclose(answer["logits"], logsumexp(answer["kinds"]), atol=1e-5)
    found = by_place(whole).predict(crops(3), verbose=0)
    np.testing.assert_allclose(found.mean(axis=(1, 2)), answer["kinds"], rtol=1e-5, atol=1e-6)
    assert answer["logit_map"].shape == ((3, 1, 1) if name == "original" else (3, 4, 4))
    if told == 1:
        assert np.allclose(answer["logit_map"].mean(axis=(1, 2)), answer["logits"], atol=1e-5)


def test_a_cell_of_the_map_is_to_its_place_what_the_logit_is_to_the_crop() -> None:
    """A picture made of one piece over and over: away from the border every cell says the same as that piece's."""
    whole = build_network("residual", 256, 0.0, kinds=2)
    tiles = np.tile(crops(1, 16), (1, 16, 16, 1))
    answer = with_logit_map(whole).predict(tiles, verbose=0)
    inner = answer["logit_map"][0, 6:10, 6:10]  # the network sees 68 px around a cell
    assert np.allclose(inner, inner[0, 0], atol=1e-4)
    cells = keras.Model(whole.input, whole.get_layer("kinds_map").output).predict(tiles, verbose=0)
    assert np.allclose(answer["logit_map"], logsumexp(cells), atol=1e-5)
    assert np.allclose(answer["kinds"], cells.mean(axis=(1, 2)), atol=1e-5)


def test_a_mirrored_crop_gets_the_same_answer_in_the_mirror() -> None:
    whole = build_network("residual", 64, 0.0, kinds=2)
    once, both = with_logit_map(whole), with_logit_map(whole, mirrored=True)
    straight, flipped = both.predict(crops(3), verbose=0), both.predict(crops(3)[:, :, ::-1], verbose=0)
    assert np.allclose(straight["logits"], flipped["logits"], atol=1e-5)
    assert np.allclose(straight["logit_map"], flipped["logit_map"][:, :, ::-1], atol=1e-4)
    alone = [once.predict(view, verbose=0)["kinds"] for view in (crops(3), crops(3)[:, :, ::-1])]
    assert np.allclose(straight["kinds"], np.mean(alone, axis=0), atol=1e-5)
    assert not np.allclose(alone[0], alone[1], atol=1e-3)


def test_ours_is_small() -> None:
    assert build_network("residual", 128, 0.0).count_params() < 1_500_000


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_residual_is_exact_in_either_precision(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    model = build_network("residual", 32, 0.0)
    x = crops(2, 32)
    found = keras.Model(model.input, model.get_layer(FIXED_LAYER).output).predict(x, verbose=0).astype(np.float32)
    x = x.astype(np.float32)
    wide = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    around = sum(wide[:, 1 + i : 33 + i, 1 + j : 33 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)) - x
    residual = (8 * x - around) / 128
    pixels = [residual[:, row::2, column::2] for row, column in ((0, 0), (0, 1), (1, 0), (1, 1))]
    # What is added up is exact; bfloat16 then keeps eight digits of the sum.
    np.testing.assert_allclose(found, np.concatenate(pixels, -1), rtol=0 if policy == "float32" else 2**-8)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_brightness_alone_changes_nothing(policy: str) -> None:
    """The residual sees differences only, so an even picture has no evidence whatever its colour."""
    keras.config.set_dtype_policy(policy)
    model = build_network("residual", 64, 0.0)
    even = [np.full((1, 64, 64, 3), value, np.uint8) for value in (0, 90, 255)]
    assert len({float(model.predict(x, verbose=0)[0]) for x in even}) == 1


def test_the_same_seed_builds_the_same_weights() -> None:
    digests = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        digests.append(weights_sha256(build_network("residual", 64, 0.0)))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(("name", "kinds"), [("residual", 1), ("residual", 2), ("original", 1)])
def test_delivered_answers_like_the_trained_and_loads_without_our_code(name, kinds, tmp_path) -> None:
    trained = build_network(name, 64, 0.2, fused=True, kinds=kinds)
    plain = delivered(trained, 64)
    assert np.allclose(plain.predict(crops(4), verbose=0), trained.predict(crops(4), verbose=0), atol=1e-4)
    plain.save(tmp_path / "m.keras")
    again = load_trained(tmp_path / "m.keras")
    assert weights_sha256(again) == weights_sha256(plain)
    assert {layer.__class__.__module__.split(".")[0] for layer in again.layers} == {"keras"}


@pytest.mark.parametrize("kinds", [1, 2])
def test_the_exported_graph_answers_like_keras(kinds, tmp_path) -> None:
    from deepfake_detector.openvino_graph import ov

    model = build_network("residual", 64, 0.0, kinds=kinds)
    export_graph(model, crops(5), tmp_path / "g.onnx", tmp_path / "r.npz")
    compiled = ov.Core().compile_model(tmp_path / "g.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with np.load(tmp_path / "r.npz") as reference:
        for n in (1, 5):  # any number of crops
            answer = compiled(reference["crops"][:n])
            for name in ("logits", "logit_map", "kinds"):
                assert answer[name].shape == reference[name][:n].shape
                assert np.allclose(answer[name], reference[name][:n], atol=1e-4)
