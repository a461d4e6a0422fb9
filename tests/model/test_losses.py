"""Loss, metrics and optimizer, each compared with its definition."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

from deepfake_detector.config import Train, read_settings
from deepfake_detector.model.losses import build_metrics, build_optimizer, fake_logit, kinds_loss

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def settings() -> Train:
    return replace(read_settings(PARAMS).train, epochs=10, warmup_epochs=2, learning_rate=0.01, weight_decay=0.1)


def sample(n: int, kinds: int, gain: float = 3.0) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    rng = np.random.default_rng(n + kinds)
    classes = rng.integers(0, kinds + 1, n)
    logits = rng.normal(0, gain, (n, kinds)) + gain * (classes[:, None] == 1 + np.arange(kinds)) - gain / 2
    return classes, logits.astype(np.float32)


def softmax_with_real(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, 1 + k): real, whose logit is 0, and the kinds."""
    powers: NDArray[np.float64] = np.exp(
        np.concatenate([np.zeros((len(logits), 1)), logits.astype(np.float64)], axis=1)
    )
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def test_with_one_kind_it_is_binary_cross_entropy() -> None:
    labels, logits = sample(200, 1)
    p = 1 / (1 + np.exp(-logits[:, 0].astype(np.float64)))
    expected = -np.where(labels == 1, np.log(p), np.log1p(-p))
    found = np.asarray(kinds_loss(labels, logits))
    assert found.shape == (200,)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert found.mean() == pytest.approx(log_loss(labels, p), rel=1e-5)
    # A network with one kind treats every kind as fake.
    np.testing.assert_allclose(np.asarray(kinds_loss(2 * labels, logits)), found)


def test_with_two_kinds_it_is_softmax_cross_entropy_with_logit_0_for_real() -> None:
    classes, logits = sample(300, 2)
    expected = -np.log(softmax_with_real(logits)[np.arange(300), classes])
    np.testing.assert_allclose(np.asarray(kinds_loss(classes, logits)), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.asarray(kinds_loss(classes[:, None], logits)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kinds", [1, 2])
def test_the_loss_of_a_mixed_crop_is_half_face_and_half_cells(kinds: int) -> None:
    rng = np.random.default_rng(4)
    classes, logits = rng.integers(0, 3, (20, 3, 3, 1)), rng.normal(0, 2, (20, 3, 3, kinds)).astype(np.float32)
    truth = np.eye(kinds + 1)[np.minimum(classes[..., 0], kinds)]
    cell_loss = -np.log((softmax_with_real(logits.reshape(-1, kinds)).reshape(20, 3, 3, -1) * truth).sum(-1))
    face_loss = -(truth.mean((1, 2)) * np.log(softmax_with_real(logits.mean((1, 2))))).sum(-1)
    expected = (face_loss + cell_loss.mean((1, 2))) / 2
    np.testing.assert_allclose(np.asarray(kinds_loss(classes, logits)), expected, rtol=1e-4)


@pytest.mark.parametrize("kinds", [1, 2])
def test_the_logit_of_a_face_is_the_mean_of_its_cells(kinds: int) -> None:
    rng = np.random.default_rng(5)
    classes, logits = rng.integers(0, kinds + 1, 64), rng.normal(0, 2, (64, 4, 4, kinds)).astype(np.float32)
    faces = logits.mean((1, 2))
    np.testing.assert_allclose(kinds_loss(classes, logits), kinds_loss(classes, faces), rtol=1e-5)
    np.testing.assert_allclose(fake_logit(logits), fake_logit(faces), rtol=1e-4, atol=1e-5)
    # A mixed crop counts as fake if half of its cells or more are.
    for metric, fakes, accuracy in ((build_metrics()[0], 8, 1.0), (build_metrics()[0], 7, 0.0)):
        cells = (np.arange(16) < fakes).astype(np.int64).reshape(1, 4, 4, 1)
        metric.update_state(cells, np.full((1, 4, 4, kinds), 3.0, np.float32))
        assert float(metric.result()) == accuracy


@pytest.mark.parametrize("kinds", [1, 2])
def test_its_gradient_is_the_softmax_minus_the_label(kinds: int) -> None:
    classes, logits = sample(50, kinds)
    variable = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        loss = tf.reduce_sum(kinds_loss(classes, variable))
    truth = classes[:, None] == 1 + np.arange(kinds)
    np.testing.assert_allclose(tape.gradient(loss, variable), softmax_with_real(logits)[:, 1:] - truth, atol=1e-5)


def test_huge_logits_give_a_finite_loss() -> None:
    loss = np.asarray(kinds_loss(np.array([0, 1, 2]), np.array([[900.0, -900], [-900, 900], [1e4, -1e4]], np.float32)))
    np.testing.assert_allclose(loss, [900, 1800, 2e4])


def test_the_fake_probability_is_1_minus_the_softmax_of_real() -> None:
    _, logits = sample(100, 2)
    p_fake = 1 / (1 + np.exp(-np.asarray(fake_logit(logits), np.float64)))
    np.testing.assert_allclose(p_fake, 1 - softmax_with_real(logits)[:, 0], rtol=1e-5)


@pytest.mark.parametrize("gain", [0.3, 3.0, 12.0])
@pytest.mark.parametrize("kinds", [1, 2])
def test_the_metrics_equal_those_of_scikit_learn(kinds: int, gain: float) -> None:
    """Also for a confident network: this AUC selects the best epoch."""
    classes, logits = sample(1000, kinds, gain)
    score = np.logaddexp.reduce(logits.astype(np.float64), axis=1)
    accuracy, auc = build_metrics()
    for start in range(0, 1000, 64):  # as batches come
        part = slice(start, start + 64)
        for metric in (accuracy, auc):
            metric.update_state(classes[part], logits[part])
    assert float(accuracy.result()) == pytest.approx(accuracy_score(classes > 0, score > 0), abs=1e-6)
    assert float(auc.result()) == pytest.approx(roc_auc_score(classes > 0, score), abs=3e-4)
    auc.reset_state()
    auc.update_state(np.array([0, 1]), np.array([[-99.0], [99.0]]))
    assert float(auc.result()) == 1


def test_the_learning_rate_warms_up_and_decays_to_0(settings: Train) -> None:
    rate = build_optimizer(settings, steps=5)._learning_rate
    rates = [float(rate(step)) for step in range(51)]
    assert rates[0] == pytest.approx(0.0001)
    assert rates[10] == pytest.approx(0.01) == max(rates)
    assert all(a < b for a, b in pairwise(rates[:11]))
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert rates[30] == pytest.approx(0.005)
    assert rates[50] == pytest.approx(0, abs=1e-9)
    at_once = build_optimizer(replace(settings, warmup_epochs=0), steps=5)._learning_rate
    assert float(at_once(0)) == pytest.approx(0.01)


def test_the_original_network_uses_adam(settings: Train) -> None:
    plain = build_optimizer(replace(settings, network="original"), steps=5)
    assert type(plain) is keras.optimizers.Adam
    assert float(plain.learning_rate) == pytest.approx(0.01)


def test_weight_decay_applies_to_kernels_only(settings: Train) -> None:
    layers = [keras.layers.Dense(3), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((2,)), *layers])
    model.trainable_variables[1].assign([1.0, 2.0, 3.0])  # the bias
    decoupled = build_optimizer(replace(settings, warmup_epochs=0), steps=5)
    before = {v.path: np.array(v) for v in model.trainable_variables}
    decoupled.apply([tf.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    for variable in model.trainable_variables:
        shrunk = before[variable.path] * (1 - 0.01 * 0.1 * (variable.name == "kernel"))
        np.testing.assert_allclose(np.array(variable), shrunk, rtol=1e-6)


def test_each_branch_has_a_loss_of_its_own() -> None:
    """Neither relies on the other: the gradient of one does not depend on the logits of the other."""
    rng = np.random.default_rng(6)
    classes, logits = rng.integers(0, 3, 32), rng.normal(0, 2, (32, 4, 4, 2, 2)).astype(np.float32)
    expected = (
        np.asarray(kinds_loss(classes, logits[..., 0, :])) + np.asarray(kinds_loss(classes, logits[..., 1, :]))
    ) / 2
    np.testing.assert_allclose(np.asarray(kinds_loss(classes, logits)), expected, rtol=1e-5)
    gradients = []
    for second in (logits[..., 1, :], logits[..., 1, :] + 5):
        variable = tf.constant(np.stack([logits[..., 0, :], second], axis=3))
        with tf.GradientTape() as tape:
            tape.watch(variable)
            loss = tf.reduce_sum(kinds_loss(classes, variable))
        gradients.append(np.asarray(tape.gradient(loss, variable))[..., 0, :])
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-5)


def test_mixed_crops_teach_both_branches() -> None:
    rng = np.random.default_rng(7)
    classes, logits = rng.integers(0, 3, (8, 4, 4, 1)), rng.normal(0, 2, (8, 4, 4, 2, 2)).astype(np.float32)
    each = [np.asarray(kinds_loss(classes, logits[..., i, :])) for i in range(2)]
    np.testing.assert_allclose(np.asarray(kinds_loss(classes, logits)), np.mean(each, axis=0), rtol=1e-5)


def test_the_logit_of_a_face_is_the_mean_of_its_branches() -> None:
    logits = np.random.default_rng(8).normal(0, 2, (16, 4, 4, 2, 2)).astype(np.float32)
    np.testing.assert_allclose(fake_logit(logits), fake_logit(logits.mean((1, 2, 3))), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", [0.25, 1.0, 2.0])
def test_the_backbone_has_its_own_learning_rate(settings: Train, factor: float) -> None:
    """Adam's first step has the size of the learning rate, whatever the gradient."""
    layers = [keras.layers.Dense(3, name=name) for name in ("stem", "block3_project", "blocked", "backbone_kinds_map")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    chosen = replace(settings, warmup_epochs=0, weight_decay=0.0, backbone_learning_rate=factor)
    optimizer, before = build_optimizer(chosen, steps=5), model.get_weights()
    optimizer.apply([tf.ones(v.shape) for v in model.trainable_variables], model.trainable_variables)
    steps = [float(np.abs(new - old).mean()) for new, old in zip(model.get_weights(), before, strict=True)]
    assert steps == pytest.approx([0.01 * factor] * 4 + [0.01] * 4, rel=1e-3)
