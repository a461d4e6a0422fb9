"""Batches of (crops uint8 (b, side, side, 3), classes) -> trained model, metrics per epoch; resumable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from deepfake_detector.config import Train
from deepfake_detector.model.backbone import freeze_blocks
from deepfake_detector.model.ema import Arrays, ExponentialMovingAverage
from deepfake_detector.model.losses import build_metrics, build_optimizer, kinds_loss
from deepfake_detector.model.network import build_network, freeze_branch, per_cell, portable_copy
from deepfake_detector.training.checkpoint import Checkpoint, EpochMetrics, TrainingState

MONITOR = "val_auc"  # of fake against real, on the validation split; selects the best epoch


@dataclass(frozen=True)
class TrainingResult:
    """A finished training: its model (float32, the weights of the best epoch) and one row of metrics per epoch."""

    model: keras.Model
    history: list[EpochMetrics]
    parameters: int
    precision: str
    resumed_at_epoch: int  # 0: not resumed
    best_epoch: int


def train(
    settings: Train,
    side_px: int,
    kinds: int,
    batches: Callable[[int], tf.data.Dataset],
    steps: int,
    valid: tf.data.Dataset,
    checkpoint: Checkpoint,
    on_epoch: Callable[[int, Mapping[str, float]], None],
    set_starting_weights: Callable[[keras.Model], None] | None = None,
) -> TrainingResult:
    """Fit a network, resuming from its checkpoint if there is one, and return its best epoch.

    Args:
        settings: params.yaml's `train`.
        side_px: side of the crops.
        kinds: number of kinds of fakes, the classes 1, 2, ...
        batches: first epoch -> all batches from that epoch on; the same epoch must give the same batches.
        steps: batches per epoch.
        valid: validation batches.
        checkpoint: written after each epoch; the caller clears it once the result is written.
        on_epoch: called with (epoch, metrics) after each epoch; a resumed training calls it for its earlier epochs
            again.
        set_starting_weights: called with the new network; not when the training is resumed. None: random weights.
    """
    keras.utils.set_random_seed(settings.seed)
    precision = settings.precision if settings.precision != "auto" else fastest_precision()
    keras.config.set_dtype_policy(precision)
    network = build_network(settings.network, side_px, settings.dropout, fused=True, kinds=kinds)
    if set_starting_weights is not None and not checkpoint.path.is_file():
        set_starting_weights(network)
    freeze_blocks(network, settings.frozen_blocks)
    freeze_branch(network, settings.frozen_branch)
    model = per_cell(network)
    model.compile(optimizer=build_optimizer(settings, steps), loss=kinds_loss, metrics=build_metrics())
    averages = ExponentialMovingAverage(settings.ema_momentum)
    state = checkpoint.restore(model) or TrainingState([], [], [])
    if state.averages:
        averages.restore(model, state.averages)
    start = len(state.history)
    for row in state.history:  # an interruption may have come between an epoch's checkpoint and its call
        on_epoch(int(row["epoch"]), row)
    recorder = _EpochRecorder(state, averages, checkpoint, settings.patience, on_epoch)
    if start < settings.epochs and not recorder.out_of_patience():
        model.fit(
            batches(start), steps_per_epoch=steps, initial_epoch=start, epochs=settings.epochs, validation_data=valid,
            callbacks=[averages, recorder], shuffle=False, verbose=1 if sys.stdout.isatty() else 2,
        )  # fmt: skip
    model.set_weights(recorder.best_weights)
    result = portable_copy(network, side_px)
    return TrainingResult(result, recorder.history, result.count_params(), precision, start, recorder.best_epoch())


def fastest_precision() -> str:
    """`mixed_bfloat16` on hardware with bfloat16 arithmetic, otherwise `float32`: emulated bfloat16 is slower."""
    if tf.config.list_physical_devices("GPU"):
        return "mixed_bfloat16"
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


class _EpochRecorder(keras.callbacks.Callback):  # type: ignore[misc]
    """After each epoch: appends to the history, keeps the best weights, writes the checkpoint, stops early."""

    def __init__(
        self,
        state: TrainingState,
        averages: ExponentialMovingAverage,
        checkpoint: Checkpoint,
        patience: int,
        on_epoch: Callable[[int, Mapping[str, float]], None],
    ) -> None:
        super().__init__()
        self.history, self.best_weights = state.history, state.best_weights
        self.averages, self.checkpoint, self.patience, self.on_epoch = averages, checkpoint, patience, on_epoch

    def best_epoch(self) -> int:
        """The epoch of the highest AUC; of several, that of the lowest loss; 0 before the first epoch."""
        # Easy data reach an AUC of 1 in the first epoch, while the moving statistics still push every logit below 0.
        return int(max(self.history, key=lambda row: (row[MONITOR], -row["val_loss"]))["epoch"]) if self.history else 0

    def out_of_patience(self) -> bool:
        """Whether the best epoch lies `patience` epochs behind."""
        return bool(self.patience) and len(self.history) - self.best_epoch() >= self.patience

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        learning_rate = float(self.model.optimizer.learning_rate)
        self.history.append({"epoch": epoch + 1, **metrics, "learning_rate": learning_rate})
        weights: Arrays = self.averages.averaged_weights()
        if self.best_epoch() == epoch + 1:
            self.best_weights = weights
        averages = weights if self.averages.momentum else []
        self.checkpoint.save(self.model, TrainingState(self.history, averages, self.best_weights))
        self.on_epoch(epoch + 1, self.history[-1])
        if self.out_of_patience():
            self.model.stop_training = True
