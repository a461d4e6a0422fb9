"""A training learns; an interrupted one resumes and ends with the same weights; the best epoch is delivered."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from deepfake_detector.config import Train, read_settings
from deepfake_detector.errors import SettingsError
from deepfake_detector.model.ema import ExponentialMovingAverage
from deepfake_detector.model.export import weights_sha256
from deepfake_detector.training import fit
from deepfake_detector.training.checkpoint import Checkpoint
from deepfake_detector.training.fit import TrainingResult, train
from tests.small_networks import use_small_backbone, use_small_residual

pytestmark = pytest.mark.slow

SIDE, STEPS, BATCH = 32, 4, 8
Weights = list[NDArray[np.float32]]


class Interrupted(Exception):
    pass


@pytest.fixture(autouse=True)
def _small_and_float32(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three narrow layers instead of seven: they are faster to build, and no test depends on them."""
    use_small_residual(monkeypatch)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def settings() -> Train:
    committed = read_settings(Path(__file__).parents[2] / "params.yaml").train
    return replace(committed, epochs=3, batch_size=BATCH, precision="float32", ema_momentum=0.5, warmup_epochs=0)


def sample(seed: int, n: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Noise; fakes have a checkerboard over it, which a network learns in a few steps."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    pattern = np.indices((SIDE, SIDE)).sum(0) % 2 * 60
    noise = rng.integers(60, 120, (n, SIDE, SIDE, 3))
    return (noise + labels[:, None, None, None] * pattern[..., None]).astype(np.uint8), labels


def batches(first: int) -> tf.data.Dataset:
    x, y = sample(0, STEPS * BATCH)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((x, y)).shuffle(32, seed=number).batch(BATCH)

    return tf.data.Dataset.range(first, 10_000).flat_map(epoch)


def fit_small(
    settings: Train,
    checkpoint: Checkpoint,
    on_epoch: Callable[[int, Mapping[str, float]], None] = lambda epoch, metrics: None,
) -> TrainingResult:
    valid = tf.data.Dataset.from_tensor_slices(sample(1, 16)).batch(BATCH)
    return train(settings, SIDE, 1, batches, STEPS, valid, checkpoint, on_epoch)


def test_it_learns_and_reports_each_epoch(settings: Train, tmp_path: Path) -> None:
    reported: list[tuple[int, float]] = []
    settings = replace(settings, epochs=8, learning_rate=0.01)
    trained = fit_small(
        settings, Checkpoint(tmp_path / "c.npz"), lambda e, metrics: reported.append((e, metrics["loss"]))
    )
    assert [e for e, _ in reported] == list(range(1, 9))
    assert min(loss for _, loss in reported) < 0.3 * reported[0][1]
    assert {"loss", "accuracy", "auc", "val_accuracy", "val_auc", "learning_rate"} <= set(trained.history[0])
    x, y = sample(2, 64)
    assert ((trained.model.predict(x, verbose=0) > 0) == y).mean() > 0.9


@pytest.mark.parametrize("interrupted_after", [1, 2, 3])
def test_an_interrupted_training_ends_with_the_same_weights(
    settings: Train, tmp_path: Path, interrupted_after: int
) -> None:
    def interrupt(epoch: int, metrics: object) -> None:
        if epoch == interrupted_after:
            raise Interrupted

    whole = fit_small(settings, Checkpoint(tmp_path / "whole.npz"))
    with pytest.raises(Interrupted):
        fit_small(settings, Checkpoint(tmp_path / "c.npz"), interrupt)
    resumed = fit_small(settings, Checkpoint(tmp_path / "c.npz"))
    assert resumed.resumed_at_epoch == interrupted_after
    assert len(resumed.history) == settings.epochs
    assert weights_sha256(resumed.model) == weights_sha256(whole.model)


def test_an_interrupted_training_of_two_branches_ends_with_the_same_weights(
    settings: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its moving deviations, frozen blocks and starting weights included."""
    use_small_backbone(monkeypatch)
    settings = replace(settings, network="fused", epochs=2, frozen_blocks=2, backbone_learning_rate=0.5)
    started = list[str]()

    def start(model: keras.Model) -> None:
        started.append(model.name)
        model.get_layer("stem").set_weights(
            [np.full(array.shape, 0.1) for array in model.get_layer("stem").get_weights()]
        )

    def fit_fused(checkpoint: str, on_epoch: Callable[[int, Mapping[str, float]], None]) -> TrainingResult:
        valid = tf.data.Dataset.from_tensor_slices(sample(1, 16)).batch(BATCH)
        path = Checkpoint(tmp_path / checkpoint)
        return train(settings, SIDE, 2, batches, STEPS, valid, path, on_epoch, start)

    def interrupt(epoch: int, metrics: object) -> None:
        raise Interrupted

    whole = fit_fused("whole.npz", lambda epoch, metrics: None)
    with pytest.raises(Interrupted):
        fit_fused("c.npz", interrupt)
    resumed = fit_fused("c.npz", lambda epoch, metrics: None)
    assert resumed.resumed_at_epoch == 1
    assert weights_sha256(resumed.model) == weights_sha256(whole.model)
    assert started == ["fused", "fused"]  # not when it was resumed
    assert np.allclose(resumed.model.get_layer("stem").get_weights()[0], 0.1)  # frozen
    assert not np.allclose(resumed.model.get_layer("block3_project").get_weights()[0], 0, atol=1e-6)


@pytest.mark.parametrize("branch", ["residual", "backbone"])
def test_a_frozen_branch_keeps_its_layers(
    branch: Literal["residual", "backbone"], settings: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its convolutions and its normalisation; the other branch learns."""
    use_small_backbone(monkeypatch)
    settings = replace(settings, network="fused", epochs=1, frozen_branch=branch, ema_momentum=0.0)
    before = dict[str, Weights]()

    def start(model: keras.Model) -> None:
        before.update({layer.name: layer.get_weights() for layer in model.layers if layer.weights})

    valid = tf.data.Dataset.from_tensor_slices(sample(1, 16)).batch(BATCH)
    ignore = lambda epoch, metrics: None  # noqa: E731
    trained = train(settings, SIDE, 2, batches, STEPS, valid, Checkpoint(tmp_path / "c.npz"), ignore, start).model

    def kept(prefix: str) -> bool:
        layers = [layer for layer in trained.layers if layer.weights and layer.name.startswith(prefix)]
        pairs = [pair for layer in layers for pair in zip(before[layer.name], layer.get_weights(), strict=True)]
        return all(np.array_equal(old, new) for old, new in pairs)

    assert (kept("conv"), kept("block3")) == (branch == "residual", branch == "backbone")


def test_a_frozen_branch_needs_branches(settings: Train, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"frozen_branch is residual, and train\.network residual has no br"):
        fit_small(replace(settings, frozen_branch="residual"), Checkpoint(tmp_path / "c.npz"))


def test_a_temporary_checkpoint_file_is_not_read(settings: Train, tmp_path: Path) -> None:
    (tmp_path / ".c.npz.1.part").write_bytes(b"half")
    assert fit_small(replace(settings, epochs=1), Checkpoint(tmp_path / "c.npz")).resumed_at_epoch == 0


def test_clear_deletes_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "c.npz").write_bytes(b"x")
    Checkpoint(tmp_path / "c.npz").clear()
    Checkpoint(tmp_path / "c.npz").clear()
    assert not list(tmp_path.iterdir())


def script_validation(
    monkeypatch: pytest.MonkeyPatch, aucs: Sequence[float], losses: Sequence[float] | None = None
) -> list[Weights]:
    """Replace the validation metrics of each epoch; the returned list receives the averaged weights of each epoch."""
    averages: list[Weights] = []
    on_epoch_end = fit._EpochRecorder.on_epoch_end

    def scripted(self: fit._EpochRecorder, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        averages.append(self.averages.averaged_weights())
        metrics = {"val_auc": aucs[epoch]} | ({"val_loss": losses[epoch]} if losses else {})
        on_epoch_end(self, epoch, dict(logs or {}) | metrics)

    monkeypatch.setattr(fit._EpochRecorder, "on_epoch_end", scripted)
    return averages


def has_weights(model: keras.Model, arrays: Weights) -> bool:
    return all(np.array_equal(np.array(w), a) for w, a in zip(model.weights, arrays, strict=True))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_the_result_has_the_weights_of_the_best_epoch(
    settings: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, momentum: float
) -> None:
    averages = script_validation(monkeypatch, [0.6, 0.9, 0.7])
    trained = fit_small(replace(settings, ema_momentum=momentum), Checkpoint(tmp_path / "c.npz"))
    assert (trained.best_epoch, len(trained.history)) == (2, 3)
    assert has_weights(trained.model, averages[1])
    assert not has_weights(trained.model, averages[2])


def test_of_epochs_with_equal_auc_that_of_the_lowest_loss_is_best(
    settings: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Easy data reach an AUC of 1 long before the loss is low."""
    averages = script_validation(monkeypatch, [1.0, 1.0, 1.0], [0.5, 0.1, 0.1])
    trained = fit_small(settings, Checkpoint(tmp_path / "c.npz"))
    assert trained.best_epoch == 2
    assert has_weights(trained.model, averages[1])


def test_it_stops_when_the_best_epoch_lies_patience_epochs_behind(
    settings: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_validation(monkeypatch, [0.6, 0.9, 0.7, 0.8, 0.95, 0.99])
    reported: list[int] = []
    trained = fit_small(
        replace(settings, epochs=6, patience=2), Checkpoint(tmp_path / "c.npz"), lambda e, metrics: reported.append(e)
    )
    assert reported == [1, 2, 3, 4]
    assert trained.best_epoch == 2


def test_without_patience_it_never_stops_early(
    settings: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_validation(monkeypatch, [0.9, 0.1, 0.1])
    assert len(fit_small(replace(settings, patience=0), Checkpoint(tmp_path / "c.npz")).history) == 3


def test_a_resumed_training_that_is_out_of_patience_trains_no_further(
    settings: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    averages = script_validation(monkeypatch, [0.9, 0.7, 0.95])
    settings = replace(settings, patience=1)

    def interrupt(epoch: int, metrics: object) -> None:
        if epoch == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit_small(settings, Checkpoint(tmp_path / "c.npz"), interrupt)
    reported: list[int] = []
    resumed = fit_small(settings, Checkpoint(tmp_path / "c.npz"), lambda e, metrics: reported.append(e))
    assert reported == [1, 2]  # reported again; no further epoch
    assert len(averages) == 2
    assert (resumed.best_epoch, resumed.resumed_at_epoch) == (1, 2)
    assert has_weights(resumed.model, averages[0])


def test_validation_metrics_are_those_of_the_averaged_weights(settings: Train, tmp_path: Path) -> None:
    """The result reproduces the loss of the best epoch."""
    trained = fit_small(replace(settings, epochs=4, ema_momentum=0.9), Checkpoint(tmp_path / "c.npz"))
    x, y = sample(1, 16)
    logits = trained.model.predict(x, verbose=0)
    loss = np.logaddexp(0, np.where(y == 1, -logits, logits)).mean()
    assert loss == pytest.approx(trained.history[trained.best_epoch - 1]["val_loss"], rel=1e-3)


def test_a_checkpoint_holds_averages_only_with_averaging(
    settings: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored: list[int] = []
    monkeypatch.setattr(ExponentialMovingAverage, "restore", lambda self, model, arrays: restored.append(len(arrays)))
    for momentum in (0.0, 0.5):
        checkpoint = Checkpoint(tmp_path / f"{momentum}.npz")
        fit_small(replace(settings, epochs=1, ema_momentum=momentum), checkpoint)
        fit_small(replace(settings, epochs=1, ema_momentum=momentum), checkpoint)
    assert len(restored) == 1
    assert restored[0] > 10
