"""Averaged weights equal those computed by hand, statistics of normalisation included, and training never sees them."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest

from deepfake_detector.model.ema import Averages
from deepfake_detector.model.network import FusedBatchNormalization

N, BATCH = 24, 4


def made(seed: int = 1) -> keras.Model:
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(3, 3, use_bias=False)(x)
    x = FusedBatchNormalization(momentum=0.5)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    return model


class Witness(keras.callbacks.Callback):
    """The weights after each step, and those that each validation saw."""

    def __init__(self) -> None:
        super().__init__()
        self.stepped: list[list[np.ndarray]] = []
        self.validated: list[list[np.ndarray]] = []

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self.stepped.append([np.array(w) for w in self.model.weights])

    def on_test_batch_end(self, batch: int, logs: object = None) -> None:
        self.validated.append([np.array(w) for w in self.model.weights])


def fit(model: keras.Model, callbacks: list, epochs: int, first: int = 0) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, (N, 6, 6, 2)).astype("f4"), rng.normal(0, 1, (N, 1)).astype("f4")
    model.fit(
        x, y, batch_size=BATCH, epochs=epochs, initial_epoch=first, callbacks=callbacks, verbose=0, shuffle=False,
        validation_data=(x[:BATCH], y[:BATCH]), validation_batch_size=BATCH,
    )  # fmt: skip


def by_hand(stepped: list[list[np.ndarray]], momentum: float) -> list[np.ndarray]:
    average = stepped[0]
    for step, weights in enumerate(stepped, start=1):
        keep = min(momentum, (1 + step) / (10 + step))
        average = [a * keep + w * (1 - keep) for a, w in zip(average, weights, strict=True)]
    return average


@pytest.mark.parametrize("momentum", [0.3, 0.9])
def test_the_average_is_that_computed_by_hand(momentum: float) -> None:
    model, averages, witness = made(), Averages(momentum), Witness()
    fit(model, [averages, witness], epochs=4)
    assert len(witness.stepped) == 4 * N // BATCH
    names = [w.name for w in model.weights]
    assert {"moving_mean", "moving_variance"} <= set(names)
    for name, found, expected in zip(names, averages.arrays(), by_hand(witness.stepped, momentum), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=name)
    moved = {name: not np.allclose(a, w) for name, a, w in zip(names, averages.arrays(), model.weights, strict=True)}
    assert moved["moving_mean"]
    assert moved["kernel"]


def test_validation_sees_the_average_and_training_goes_on_with_the_weights() -> None:
    model, averages, witness = made(), Averages(0.9), Witness()
    fit(model, [averages, witness], epochs=3)
    per_epoch = N // BATCH
    assert len(witness.validated) == 3
    for epoch, seen in enumerate(witness.validated, start=1):
        for found, expected in zip(seen, by_hand(witness.stepped[: epoch * per_epoch], 0.9), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    alone, plain = Witness(), made()
    fit(plain, [alone], epochs=3)
    for with_averages, without in zip(witness.stepped, alone.stepped, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(with_averages, without, strict=True))


def test_without_momentum_the_average_is_the_weights() -> None:
    model, averages, witness = made(), Averages(0.0), Witness()
    fit(model, [averages, witness], epochs=1)
    for found, weights in zip(averages.arrays(), model.weights, strict=True):
        assert np.array_equal(found, np.array(weights))
    assert all(np.array_equal(a, b) for a, b in zip(witness.validated[0], witness.stepped[-1], strict=True))


def test_before_the_first_step_it_is_the_weights() -> None:
    model, averages = made(), Averages(0.9)
    averages.set_model(model)
    for found, weights in zip(averages.arrays(), model.weights, strict=True):
        assert np.array_equal(found, np.array(weights))


def test_kept_averages_go_on_where_they_were() -> None:
    whole, averages = made(), Averages(0.9)
    fit(whole, [averages], epochs=4)
    model, before, after = made(), Averages(0.9), Averages(0.9)
    fit(model, [before], epochs=2)
    after.restore(model, before.arrays())
    fit(model, [after], epochs=4, first=2)
    assert all(np.array_equal(a, b) for a, b in zip(after.arrays(), averages.arrays(), strict=True))
