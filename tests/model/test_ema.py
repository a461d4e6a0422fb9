"""The averages equal a NumPy reference, moving statistics included, and do not change the training."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.model.ema import ExponentialMovingAverage
from deepfake_detector.model.normalization import FusedBatchNormalization

N, BATCH = 24, 4
Weights = list[NDArray[np.float32]]


def build_model(seed: int = 1) -> keras.Model:
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(3, 3, use_bias=False)(x)
    x = FusedBatchNormalization(momentum=0.5)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    return model


class WeightRecorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Records the weights after each training step and at each validation step."""

    def __init__(self) -> None:
        super().__init__()
        self.trained: list[Weights] = []
        self.validated: list[Weights] = []

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.trained.append([np.array(w) for w in self.model.weights])

    def on_test_batch_end(self, batch: int, logs: object = None) -> None:
        self.validated.append([np.array(w) for w in self.model.weights])


def fit(model: keras.Model, callbacks: list[keras.callbacks.Callback], epochs: int, first: int = 0) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, (N, 6, 6, 2)).astype("f4"), rng.normal(0, 1, (N, 1)).astype("f4")
    model.fit(
        x, y, batch_size=BATCH, epochs=epochs, initial_epoch=first, callbacks=callbacks, verbose=0, shuffle=False,
        validation_data=(x[:BATCH], y[:BATCH]), validation_batch_size=BATCH,
    )  # fmt: skip


def expected_average(trained: list[Weights], momentum: float) -> Weights:
    average = trained[0]
    for step, weights in enumerate(trained, start=1):
        keep = min(momentum, (1 + step) / (10 + step))
        average = [a * keep + w * (1 - keep) for a, w in zip(average, weights, strict=True)]
    return average


@pytest.mark.parametrize("momentum", [0.3, 0.9])
def test_the_average_equals_the_numpy_reference(momentum: float) -> None:
    model, averages, recorder = build_model(), ExponentialMovingAverage(momentum), WeightRecorder()
    fit(model, [averages, recorder], epochs=4)
    assert len(recorder.trained) == 4 * N // BATCH
    names = [w.name for w in model.weights]
    assert {"moving_mean", "moving_variance"} <= set(names)
    for name, found, expected in zip(
        names, averages.averaged_weights(), expected_average(recorder.trained, momentum), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=name)
    moved = {
        name: not np.allclose(a, w)
        for name, a, w in zip(names, averages.averaged_weights(), model.weights, strict=True)
    }
    assert moved["moving_mean"]
    assert moved["kernel"]


def test_validation_uses_the_average_and_training_the_weights() -> None:
    model, averages, recorder = build_model(), ExponentialMovingAverage(0.9), WeightRecorder()
    fit(model, [averages, recorder], epochs=3)
    per_epoch = N // BATCH
    assert len(recorder.validated) == 3
    for epoch, weights in enumerate(recorder.validated, start=1):
        for found, expected in zip(weights, expected_average(recorder.trained[: epoch * per_epoch], 0.9), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    alone = WeightRecorder()
    fit(build_model(), [alone], epochs=3)
    for with_averages, without in zip(recorder.trained, alone.trained, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(with_averages, without, strict=True))


def test_without_momentum_the_average_equals_the_weights() -> None:
    model, averages, recorder = build_model(), ExponentialMovingAverage(0.0), WeightRecorder()
    fit(model, [averages, recorder], epochs=1)
    for found, weights in zip(averages.averaged_weights(), model.weights, strict=True):
        assert np.array_equal(found, np.array(weights))
    assert all(np.array_equal(a, b) for a, b in zip(recorder.validated[0], recorder.trained[-1], strict=True))


def test_before_the_first_step_the_average_equals_the_weights() -> None:
    model, averages = build_model(), ExponentialMovingAverage(0.9)
    averages.set_model(model)
    for found, weights in zip(averages.averaged_weights(), model.weights, strict=True):
        assert np.array_equal(found, np.array(weights))


def test_restored_averages_continue() -> None:
    whole, averages = build_model(), ExponentialMovingAverage(0.9)
    fit(whole, [averages], epochs=4)
    model, before, after = build_model(), ExponentialMovingAverage(0.9), ExponentialMovingAverage(0.9)
    fit(model, [before], epochs=2)
    after.restore(model, before.averaged_weights())
    fit(model, [after], epochs=4, first=2)
    assert all(np.array_equal(a, b) for a, b in zip(after.averaged_weights(), averages.averaged_weights(), strict=True))
