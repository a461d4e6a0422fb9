"""The networks: shapes, exactness of the residual, what is delivered, what is exported."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest

from deepfake_detector.model.export import export_graph, load_trained, weights_sha256
from deepfake_detector.model.network import FIXED_LAYER, build_network, delivered, with_logit_map


@pytest.fixture(autouse=True)
def _float32():
    yield
    keras.config.set_dtype_policy("float32")


def crops(n: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["residual", "original"])
def test_logits_and_map(name: str) -> None:
    model = with_logit_map(build_network(name, 64, 0.2))
    answer = model.predict(crops(3), verbose=0)
    assert answer["logits"].shape == (3,)
    assert answer["logits"].dtype == np.float32
    assert np.allclose(answer["logit_map"].mean(axis=(1, 2)), answer["logits"], atol=1e-5)


def test_ours_is_small() -> None:
    assert build_network("residual", 128, 0.0).count_params() < 1_500_000


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_residual_is_exact_in_either_precision(policy: str) -> None:
    keras.config.set_dtype_policy(policy)
    model = build_network("residual", 32, 0.0)
    x = crops(2, 32)
    found = keras.Model(model.input, model.get_layer(FIXED_LAYER).output).predict(x, verbose=0).astype(np.float32)
    blocks = x.astype(np.float32)
    corner = blocks[:, ::2, ::2]
    wanted = np.concatenate(
        [blocks[:, ::2, 1::2] - corner, blocks[:, 1::2, ::2] - corner, blocks[:, 1::2, 1::2] - corner], -1
    )
    assert np.array_equal(found, wanted / 16)


def test_brightness_alone_changes_nothing() -> None:
    """The residual sees differences only, so an even picture has no evidence whatever its colour."""
    model = build_network("residual", 64, 0.0)
    even = [np.full((1, 64, 64, 3), value, np.uint8) for value in (0, 90, 255)]
    assert len({float(model.predict(x, verbose=0)[0]) for x in even}) == 1


def test_the_same_seed_builds_the_same_weights() -> None:
    digests = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        digests.append(weights_sha256(build_network("residual", 64, 0.0)))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("name", ["residual", "original"])
def test_delivered_answers_like_the_trained_and_loads_without_our_code(name, tmp_path) -> None:
    trained = build_network(name, 64, 0.2, fused=True)
    plain = delivered(trained, 64)
    assert np.allclose(plain.predict(crops(4), verbose=0), trained.predict(crops(4), verbose=0), atol=1e-4)
    plain.save(tmp_path / "m.keras")
    again = load_trained(tmp_path / "m.keras")
    assert weights_sha256(again) == weights_sha256(plain)
    assert {layer.__class__.__module__.split(".")[0] for layer in again.layers} == {"keras"}


def test_the_exported_graph_answers_like_keras(tmp_path) -> None:
    from deepfake_detector.scoring.engine import ov

    model = build_network("residual", 64, 0.0)
    export_graph(model, crops(5), tmp_path / "g.onnx", tmp_path / "r.npz")
    compiled = ov.Core().compile_model(tmp_path / "g.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with np.load(tmp_path / "r.npz") as reference:
        for n in (1, 5):  # any number of crops
            answer = compiled(reference["crops"][:n])
            assert np.allclose(answer["logits"], reference["logits"][:n], atol=1e-4)
            assert np.allclose(answer["logit_map"], reference["logit_map"][:n], atol=1e-4)
