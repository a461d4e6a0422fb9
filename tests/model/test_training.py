"""A training learns, can be killed anywhere, and ends as if nothing had happened."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from deepfake_detector.model.export import weights_sha256
from deepfake_detector.model.training import Checkpoint, Trained, train
from deepfake_detector.settings import Train, read_settings

SIDE, STEPS, BATCH = 32, 4, 8


@pytest.fixture(autouse=True)
def _float32():
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def settings() -> Train:
    whole = read_settings(Path(__file__).parents[2] / "params.yaml").train
    return replace(whole, epochs=3, batch_size=BATCH, precision="float32", ema_momentum=0.5, warmup_epochs=0)


def rows(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Fakes have a chequered pattern over the noise: learnable in a few steps."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n).astype(np.float32)
    pattern = np.indices((SIDE, SIDE)).sum(0) % 2 * 60
    noise = rng.integers(60, 120, (n, SIDE, SIDE, 3))
    return (noise + labels[:, None, None, None] * pattern[..., None]).astype(np.uint8), labels


def batches(first: int) -> tf.data.Dataset:
    x, y = rows(0, STEPS * BATCH)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((x, y)).shuffle(32, seed=number).batch(BATCH)

    return tf.data.Dataset.range(first, 10_000).flat_map(epoch)


def fit(settings: Train, checkpoint: Checkpoint, on_epoch=lambda epoch, row: None) -> Trained:
    valid = tf.data.Dataset.from_tensor_slices(rows(1, 16)).batch(BATCH)
    return train(settings, SIDE, batches, STEPS, valid, checkpoint, on_epoch)


def test_it_learns_and_reports_each_epoch(settings, tmp_path) -> None:
    seen = []
    trained = fit(
        replace(settings, epochs=8), Checkpoint(tmp_path / "c.npz"), lambda e, row: seen.append((e, row["loss"]))
    )
    assert [e for e, _ in seen] == list(range(1, 9))
    assert min(loss for _, loss in seen) < 0.3 * seen[0][1]
    assert {"loss", "accuracy", "auc", "val_accuracy", "val_auc", "learning_rate"} <= set(trained.history[0])
    x, y = rows(2, 64)
    assert ((trained.model.predict(x, verbose=0) > 0) == y).mean() > 0.9


@pytest.mark.parametrize("killed_after", [1, 2, 3])
def test_a_killed_training_ends_with_the_same_weights(settings, tmp_path, killed_after: int) -> None:
    class Killed(Exception):
        pass

    def kill(epoch: int, row: object) -> None:
        if epoch == killed_after:
            raise Killed

    whole = fit(settings, Checkpoint(tmp_path / "whole.npz"))
    with pytest.raises(Killed):
        fit(settings, Checkpoint(tmp_path / "c.npz"), kill)
    resumed = fit(settings, Checkpoint(tmp_path / "c.npz"))
    assert resumed.resumed_at == killed_after
    assert len(resumed.history) == settings.epochs
    assert weights_sha256(resumed.model) == weights_sha256(whole.model)


def test_a_half_written_checkpoint_is_never_read(settings, tmp_path) -> None:
    (tmp_path / "part-c.npz").write_bytes(b"half")
    assert fit(replace(settings, epochs=1), Checkpoint(tmp_path / "c.npz")).resumed_at == 0


def test_clear_forgets(tmp_path) -> None:
    (tmp_path / "c.npz").write_bytes(b"x")
    Checkpoint(tmp_path / "c.npz").clear()
    Checkpoint(tmp_path / "c.npz").clear()
    assert not list(tmp_path.iterdir())
