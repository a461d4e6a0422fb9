"""A training learns, can be killed anywhere, and ends as if nothing had happened."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from deepfake_detector.config import Train, read_settings
from deepfake_detector.model import network
from deepfake_detector.model.ema import Averages
from deepfake_detector.model.export import weights_sha256
from deepfake_detector.training import fit
from deepfake_detector.training.checkpoint import Checkpoint
from deepfake_detector.training.fit import Trained, train

SIDE, STEPS, BATCH = 32, 4, 8


@pytest.fixture(autouse=True)
def _small_and_float32(monkeypatch):
    """Three narrow layers instead of seven: nothing here depends on them, and building them takes long."""
    monkeypatch.setattr(network, "CHANNELS", ((8,), (8,), (8,)))
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def settings() -> Train:
    whole = read_settings(Path(__file__).parents[2] / "params.yaml").train
    return replace(whole, epochs=3, batch_size=BATCH, precision="float32", ema_momentum=0.5, warmup_epochs=0)


def rows(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Fakes have a chequered pattern over the noise: learnable in a few steps."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    pattern = np.indices((SIDE, SIDE)).sum(0) % 2 * 60
    noise = rng.integers(60, 120, (n, SIDE, SIDE, 3))
    return (noise + labels[:, None, None, None] * pattern[..., None]).astype(np.uint8), labels


def batches(first: int) -> tf.data.Dataset:
    x, y = rows(0, STEPS * BATCH)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((x, y)).shuffle(32, seed=number).batch(BATCH)

    return tf.data.Dataset.range(first, 10_000).flat_map(epoch)


def fit_small(settings: Train, checkpoint: Checkpoint, on_epoch=lambda epoch, row: None) -> Trained:
    valid = tf.data.Dataset.from_tensor_slices(rows(1, 16)).batch(BATCH)
    return train(settings, SIDE, 1, batches, STEPS, valid, checkpoint, on_epoch)


def test_it_learns_and_reports_each_epoch(settings, tmp_path) -> None:
    seen = []
    eager = replace(settings, epochs=8, learning_rate=0.01)
    trained = fit_small(eager, Checkpoint(tmp_path / "c.npz"), lambda e, row: seen.append((e, row["loss"])))
    assert [e for e, _ in seen] == list(range(1, 9))
    assert min(loss for _, loss in seen) < 0.3 * seen[0][1]
    assert {"loss", "accuracy", "auc", "val_accuracy", "val_auc", "learning_rate"} <= set(trained.history[0])
    x, y = rows(2, 64)
    assert ((trained.model.predict(x, verbose=0) > 0) == y).mean() > 0.9


@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_killed_training_ends_with_the_same_weights(settings, tmp_path, killed_after: int) -> None:
    def kill(epoch: int, row: object) -> None:
        if epoch == killed_after:
            raise Killed

    whole = fit_small(settings, Checkpoint(tmp_path / "whole.npz"))
    with pytest.raises(Killed):
        fit_small(settings, Checkpoint(tmp_path / "c.npz"), kill)
    resumed = fit_small(settings, Checkpoint(tmp_path / "c.npz"))
    assert resumed.resumed_at == killed_after
    assert len(resumed.history) == settings.epochs
    assert weights_sha256(resumed.model) == weights_sha256(whole.model)


def test_a_half_written_checkpoint_is_never_read(settings, tmp_path) -> None:
    (tmp_path / "part-c.npz").write_bytes(b"half")
    assert fit_small(replace(settings, epochs=1), Checkpoint(tmp_path / "c.npz")).resumed_at == 0


def test_clear_forgets(tmp_path) -> None:
    (tmp_path / "c.npz").write_bytes(b"x")
    Checkpoint(tmp_path / "c.npz").clear()
    Checkpoint(tmp_path / "c.npz").clear()
    assert not list(tmp_path.iterdir())


class Killed(Exception):
    pass


def scripted(monkeypatch, values: list[float], losses: list[float] | None = None) -> list[list[np.ndarray]]:
    """Let the validation give these AUCs; the averages after each epoch."""
    seen: list[list[np.ndarray]] = []
    plain = fit._Epochs.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        seen.append(self.averages.arrays())
        told = {"val_auc": values[epoch]} | ({"val_loss": losses[epoch]} if losses else {})
        plain(self, epoch, dict(logs) | told)

    monkeypatch.setattr(fit._Epochs, "on_epoch_end", on_epoch_end)
    return seen


def same(model: keras.Model, arrays: list[np.ndarray]) -> bool:
    return all(np.array_equal(np.array(w), a) for w, a in zip(model.weights, arrays, strict=True))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_the_best_epoch_is_delivered(settings, tmp_path, monkeypatch, momentum: float) -> None:
    seen = scripted(monkeypatch, [0.6, 0.9, 0.7])
    trained = fit_small(replace(settings, ema_momentum=momentum), Checkpoint(tmp_path / "c.npz"))
    assert (trained.best_epoch, len(trained.history)) == (2, 3)
    assert same(trained.model, seen[1])
    assert not same(trained.model, seen[2])


def test_of_epochs_alike_the_one_of_the_lowest_loss_is_best(settings, tmp_path, monkeypatch) -> None:
    """Easy data are ranked without a fault long before the network is sure of anything."""
    seen = scripted(monkeypatch, [1.0, 1.0, 1.0], [0.5, 0.1, 0.1])
    trained = fit_small(settings, Checkpoint(tmp_path / "c.npz"))
    assert trained.best_epoch == 2
    assert same(trained.model, seen[1])


def test_it_stops_when_the_best_epoch_lies_patience_behind(settings, tmp_path, monkeypatch) -> None:
    scripted(monkeypatch, [0.6, 0.9, 0.7, 0.8, 0.95, 0.99])
    told: list[int] = []
    trained = fit_small(
        replace(settings, epochs=6, patience=2), Checkpoint(tmp_path / "c.npz"), lambda e, row: told.append(e)
    )
    assert told == [1, 2, 3, 4]
    assert trained.best_epoch == 2


def test_no_patience_setting_never_stops(settings, tmp_path, monkeypatch) -> None:
    scripted(monkeypatch, [0.9, 0.1, 0.1])
    assert len(fit_small(replace(settings, patience=0), Checkpoint(tmp_path / "c.npz")).history) == 3


def test_a_resumed_training_that_was_out_of_patience_trains_no_further(settings, tmp_path, monkeypatch) -> None:
    seen = scripted(monkeypatch, [0.9, 0.7, 0.95])
    patient = replace(settings, patience=1)

    def kill(epoch: int, row: object) -> None:
        if epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        fit_small(patient, Checkpoint(tmp_path / "c.npz"), kill)
    told: list[int] = []
    resumed = fit_small(patient, Checkpoint(tmp_path / "c.npz"), lambda e, row: told.append(e))
    assert told == [1, 2]  # told again, nothing more
    assert len(seen) == 2
    assert (resumed.best_epoch, resumed.resumed_at) == (1, 2)
    assert same(resumed.model, seen[0])


def test_validation_figures_are_those_of_the_average(settings, tmp_path) -> None:
    """What is delivered reaches what its epoch was chosen for."""
    trained = fit_small(replace(settings, epochs=4, ema_momentum=0.9), Checkpoint(tmp_path / "c.npz"))
    x, y = rows(1, 16)
    logits = trained.model.predict(x, verbose=0)
    loss = np.logaddexp(0, np.where(y == 1, -logits, logits)).mean()
    assert loss == pytest.approx(trained.history[trained.best_epoch - 1]["val_loss"], rel=1e-3)


def test_a_checkpoint_holds_the_averages_only_when_there_are_any(settings, tmp_path, monkeypatch) -> None:
    started: list[int] = []
    monkeypatch.setattr(Averages, "restore", lambda self, model, arrays: started.append(len(arrays)))
    for momentum in (0.0, 0.5):
        checkpoint = Checkpoint(tmp_path / f"{momentum}.npz")
        fit_small(replace(settings, epochs=1, ema_momentum=momentum), checkpoint)
        fit_small(replace(settings, epochs=1, ema_momentum=momentum), checkpoint)
    assert len(started) == 1
    assert started[0] > 10
