"""Batches of (crops uint8 (b, side, side, 3), classes) -> trained model and history, resumable after a kill."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from deepfake_detector.config import Train
from deepfake_detector.model.ema import Arrays, Averages
from deepfake_detector.model.losses import kinds_loss, metrics, optimizer
from deepfake_detector.model.network import build_network, by_place, delivered
from deepfake_detector.training.checkpoint import Checkpoint, Kept, Row

WATCHED = "val_auc"  # of fake against real, on the validation split


@dataclass(frozen=True)
class Trained:
    """A finished training: the model to deliver (float32, weights of the best epoch), and one row per epoch."""

    model: keras.Model
    history: list[Row]
    parameters: int
    precision: str
    resumed_at: int  # epoch; 0 when nothing was resumed
    best_epoch: int  # the one that is delivered


def train(
    settings: Train,
    side_px: int,
    kinds: int,
    batches: Callable[[int], tf.data.Dataset],
    steps: int,
    valid: tf.data.Dataset,
    checkpoint: Checkpoint,
    on_epoch: Callable[[int, Mapping[str, float]], None],
) -> Trained:
    """Fit a network, going on from its checkpoint if there is one, and deliver its best epoch.

    Args:
        settings: params.yaml's `train`.
        side_px: side of the crops.
        kinds: how many kinds of fakes the classes 1, 2, ... stand for.
        batches: first epoch -> all batches from there on; the same epoch must give the same batches.
        steps: batches per epoch.
        valid: batches to validate on after each epoch.
        checkpoint: where the state is kept; cleared by the caller once the result is safe.
        on_epoch: called with (epoch, row) after each epoch, and again for those that a resumed training has behind it.
    """
    keras.utils.set_random_seed(settings.seed)
    precision = settings.precision if settings.precision != "auto" else fastest_precision()
    keras.config.set_dtype_policy(precision)
    whole = build_network(settings.network, side_px, settings.dropout, fused=True, kinds=kinds)
    model = by_place(whole)
    model.compile(optimizer=optimizer(settings, steps), loss=kinds_loss, metrics=metrics())
    averages = Averages(settings.ema_momentum)
    kept = checkpoint.restore(model) or Kept([], [], [])
    if kept.averages:
        averages.restore(model, kept.averages)
    start = len(kept.history)
    for row in kept.history:  # a kill may have come between an epoch's checkpoint and its call
        on_epoch(int(row["epoch"]), row)
    epochs = _Epochs(kept, averages, checkpoint, settings.patience, on_epoch)
    if start < settings.epochs and not epochs.out_of_patience():
        model.fit(
            batches(start), steps_per_epoch=steps, initial_epoch=start, epochs=settings.epochs, validation_data=valid,
            callbacks=[averages, epochs], shuffle=False, verbose=1 if sys.stdout.isatty() else 2,
        )  # fmt: skip
    model.set_weights(epochs.best)
    result = delivered(whole, side_px)
    return Trained(result, epochs.history, result.count_params(), precision, start, epochs.best_epoch())


def fastest_precision() -> str:
    """`mixed_bfloat16` where this machine multiplies bfloat16 in hardware, otherwise `float32`.

    Without such hardware bfloat16 is emulated and slower than float32.
    """
    if tf.config.list_physical_devices("GPU"):
        return "mixed_bfloat16"
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


class _Epochs(keras.callbacks.Callback):  # type: ignore[misc]
    """After each epoch: one row of history, the best weights, one checkpoint, one call of `on_epoch`; stops in time."""

    def __init__(
        self,
        kept: Kept,
        averages: Averages,
        checkpoint: Checkpoint,
        patience: int,
        on_epoch: Callable[[int, Mapping[str, float]], None],
    ) -> None:
        super().__init__()
        self.history, self.best = kept.history, kept.best
        self.averages, self.checkpoint, self.patience, self.notify = averages, checkpoint, patience, on_epoch

    def best_epoch(self) -> int:
        """The one of the highest AUC; of several, that of the lowest loss; 0 before the first epoch."""
        # Easy data reach an AUC of 1 in the first epoch, when normalisation still calls all of it real.
        return int(max(self.history, key=lambda row: (row[WATCHED], -row["val_loss"]))["epoch"]) if self.history else 0

    def out_of_patience(self) -> bool:
        """Whether the best epoch lies `patience` epochs behind."""
        return bool(self.patience) and len(self.history) - self.best_epoch() >= self.patience

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        row = {name: float(value) for name, value in (logs or {}).items()}
        self.history.append({"epoch": epoch + 1, **row, "learning_rate": float(self.model.optimizer.learning_rate)})
        averages: Arrays = self.averages.arrays()
        if self.best_epoch() == epoch + 1:
            self.best = averages
        self.checkpoint.save(self.model, Kept(self.history, averages if self.averages.momentum else [], self.best))
        self.notify(epoch + 1, self.history[-1])
        if self.out_of_patience():
            self.model.stop_training = True
