"""Classifiers fitted to own and earlier features know both; the rest of the network stays; other files are refused."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import logsumexp

from deepfake_detector.config import Train, read_settings
from deepfake_detector.errors import SettingsError
from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.model.network import KINDS_LAYER, build_network, classifier_layers, portable_copy
from deepfake_detector.stats import auc
from deepfake_detector.training.replay import (
    Classifier,
    Features,
    fit_classifier,
    fit_with_replay,
    measure_features,
    read_classifier,
    read_replay,
    set_classifier,
    write_replay,
)
from tests.small_networks import use_small_backbone, use_small_residual

SIDE_PX = 64
KINDS = ("synthetic", "swap")
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    use_small_backbone(monkeypatch)
    use_small_residual(monkeypatch)
    yield
    keras.config.set_dtype_policy("float32")


def crops(n: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Noise; fakes have a checkerboard over it."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 2
    pattern = np.indices((SIDE_PX, SIDE_PX)).sum(0)[..., None] % 2 * 100
    pixels = rng.integers(60, 120, (n, SIDE_PX, SIDE_PX, 3)) + pattern * classes[:, None, None, None]
    return pixels.astype(np.uint8), classes


def batches(n: int, seed: int) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(crops(n, seed)).batch(8)


def features(rng: np.random.Generator, n: int, informative: int) -> Features:
    """Twelve numbers, of which one tells fakes (class 1) from reals, with an AUC of 0.98."""
    classes = np.arange(n) % 2
    values = rng.normal(0, 1, (n, 12))
    values[:, informative] += 3 * classes
    return Features(values, classes)


def score_auc(classifier: Classifier, of: Features) -> float:
    return auc(logsumexp(classifier.logits(of), axis=1), (of.classes > 0).astype(np.int64))


def test_own_pictures_are_learned_and_earlier_ones_are_not_forgotten() -> None:
    rng = np.random.default_rng(0)
    kernel = np.zeros((12, 2))
    kernel[0, 0] = 3.0
    before = Classifier(kernel, np.array([-4.5, -20.0]))
    earlier, own = features(rng, 2000, 0), features(rng, 40, 1)
    unseen_earlier, unseen_own = features(rng, 2000, 0), features(rng, 2000, 1)
    assert score_auc(before, unseen_earlier) > 0.97
    assert score_auc(before, unseen_own) < 0.55
    after = fit_classifier(before, earlier, own)
    assert score_auc(after, unseen_earlier) > 0.93  # a line through both has 0.95
    assert score_auc(after, unseen_own) > 0.85
    alone = fit_classifier(before, own, own)
    assert score_auc(alone, unseen_earlier) < score_auc(after, unseen_earlier)


@pytest.mark.parametrize("name", ["fused", "residual", "efficientnet_lite0"])
def test_the_classifier_of_a_network_is_linear_in_its_features(name: str) -> None:
    keras.utils.set_random_seed(3)
    model = portable_copy(build_network(name, SIDE_PX, 0.0, fused=True, kinds=2), SIDE_PX)
    kinds = keras.Model(model.input, model.get_layer(KINDS_LAYER).output)
    pixels, classes = crops(8, 0)
    found = measure_features(model, batches(8, 0))
    assert found.classes.tolist() == classes.tolist()
    assert read_classifier(model).logits(found) == pytest.approx(kinds.predict(pixels, verbose=0), abs=1e-4)
    shape = read_classifier(model).kernel.shape
    other = Classifier(np.random.default_rng(1).normal(0, 0.1, shape), np.array([0.5, -2.0]))
    set_classifier(model, other)
    assert other.logits(found) == pytest.approx(kinds.predict(pixels, verbose=0), abs=1e-4)


def test_only_the_classifiers_change(capsys: pytest.CaptureFixture[str]) -> None:
    settings: Train = replace(read_settings(ROOT / "params.yaml").train, network="fused")
    started: list[dict[str, list[NDArray[np.float32]]]] = []

    def start(model: keras.Model) -> None:
        started.append({layer.name: layer.get_weights() for layer in portable_copy(model, SIDE_PX).layers})

    reported: list[tuple[int, dict[str, float]]] = []
    keras.utils.set_random_seed(settings.seed)  # the network that is fitted
    network_before = portable_copy(build_network("fused", SIDE_PX, 0.0, fused=True, kinds=2), SIDE_PX)
    bright = measure_features(network_before, batches(90, 5))
    earlier = Features(bright.values, 2 * bright.classes)
    result = fit_with_replay(
        settings, SIDE_PX, KINDS, batches(32, 1), batches(16, 2), earlier,
        lambda epoch, metrics: reported.append((epoch, dict(metrics))), start,
    )  # fmt: skip
    classifiers = {layer.name for layer in classifier_layers(result.model)}
    for layer in result.model.layers:
        same = all(np.array_equal(a, b) for a, b in zip(layer.get_weights(), started[0][layer.name], strict=True))
        assert same is (layer.name not in classifiers or not layer.weights)
    ((epoch, metrics),) = reported
    assert (epoch, result.history) == (1, [metrics])
    assert metrics["val_auc"] > 0.95  # the features of a random network show it
    assert {"val_before_auc", "earlier_accuracy", "earlier_before_accuracy", "loss"} <= set(metrics)
    printed = capsys.readouterr().out
    assert "own validation pictures: accuracy " in printed
    assert "earlier pictures, not fitted to: accuracy " in printed


def test_features_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = features(np.random.default_rng(0), 20, 0)
    write_replay(tmp_path / "r.npz", written, KINDS, "ab" * 32)
    found = read_replay(tmp_path / "r.npz", KINDS, "ab" * 32)
    assert found.values == pytest.approx(written.values, abs=0.01)
    assert found.classes.tolist() == written.classes.tolist()


@pytest.mark.parametrize(("kinds", "weights"), [(KINDS, "cd" * 32), (("synthetic",), "ab" * 32), (KINDS, "")])
def test_features_of_another_model_are_refused(tmp_path: Path, kinds: tuple[str, ...], weights: str) -> None:
    write_replay(tmp_path / "r.npz", features(np.random.default_rng(0), 20, 0), KINDS, "ab" * 32)
    with pytest.raises(SettingsError, match=r"(?s)train\.replay is .*abababababab.*python -m pipelines\.replay"):
        read_replay(tmp_path / "r.npz", kinds, weights)


def test_a_file_without_features_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.npz").write_bytes(b"no zip")
    for name in ("r.npz", "none.npz"):
        with pytest.raises(SettingsError, match=r"holds no features"):
            read_replay(tmp_path / name, KINDS, "ab" * 32)


def test_the_recipe_has_features_of_the_shipped_model() -> None:
    """`python -m pipelines.replay` makes them anew for another model."""
    contract = read_bundle(ROOT / "pretrained").contract
    found = read_replay(ROOT / "recipes" / "replay.npz", contract.kinds, contract.weights_sha256)
    assert min(np.bincount(found.classes, minlength=3)) >= 200
