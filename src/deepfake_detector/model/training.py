"""Batches of (crops uint8 (b, side, side, 3), labels (b,)) -> trained model and its history, resumable after a kill."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from deepfake_detector.model.network import build_network, delivered
from deepfake_detector.settings import Train

Row = dict[str, float]  # one epoch: loss, accuracy, auc, val_..., learning_rate


@dataclass(frozen=True)
class Trained:
    """A finished training: the model to deliver (float32, averaged weights), and one row per epoch."""

    model: keras.Model
    history: list[Row]
    parameters: int
    precision: str
    resumed_at: int  # epoch; 0 when nothing was resumed


@dataclass(frozen=True)
class Checkpoint:
    """The whole state of a training in progress, in one file that is only ever replaced whole."""

    path: Path

    def save(self, model: keras.Model, history: list[Row]) -> None:
        """Keep every variable of model and optimizer (averages and dropout's random state too) and the history."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(f"part-{self.path.name}")
        arrays: dict[str, Any] = {str(i): np.asarray(v) for i, v in enumerate(_state(model))}
        with fresh.open("wb") as file:
            np.savez(file, history=np.asarray(json.dumps(history)), **arrays)
        fresh.replace(self.path)

    def restore(self, model: keras.Model) -> list[Row]:
        """Put the state into a compiled model; the history so far, empty when there is no checkpoint."""
        if not self.path.is_file():
            return []
        model.optimizer.build(model.trainable_variables)
        with np.load(self.path, allow_pickle=False) as arrays:
            for i, variable in enumerate(_state(model)):
                variable.assign(arrays[str(i)])
            history: list[Row] = json.loads(str(arrays["history"]))
        return history

    def clear(self) -> None:
        """Forget the state: the training is finished and its result is safe."""
        self.path.unlink(missing_ok=True)


def train(
    settings: Train,
    side_px: int,
    batches: Callable[[int], tf.data.Dataset],
    steps: int,
    valid: tf.data.Dataset,
    checkpoint: Checkpoint,
    on_epoch: Callable[[int, Mapping[str, float]], None],
) -> Trained:
    """Fit a network, going on from its checkpoint if there is one.

    Args:
        settings: params.yaml's `train`.
        side_px: side of the crops.
        batches: first epoch -> all batches from there on; the same epoch must give the same batches.
        steps: batches per epoch.
        valid: batches to validate on after each epoch.
        checkpoint: where the state is kept; cleared by the caller once the result is safe.
        on_epoch: called with (epoch, row) after each epoch, and again for those that a resumed training has behind it.
    """
    keras.utils.set_random_seed(settings.seed)
    precision = settings.precision if settings.precision != "auto" else fastest_precision()
    keras.config.set_dtype_policy(precision)
    model = _compiled(settings, side_px, steps)
    history = checkpoint.restore(model)
    start = len(history)
    for row in history:  # a kill may have come between an epoch's checkpoint and its call
        on_epoch(int(row["epoch"]), row)
    callbacks = [_Epochs(history, checkpoint, on_epoch)]
    if settings.ema_momentum:
        callbacks.insert(0, keras.callbacks.SwapEMAWeights())  # validate on the averaged weights
    if start < settings.epochs:
        model.fit(
            batches(start), steps_per_epoch=steps, initial_epoch=start, epochs=settings.epochs, validation_data=valid,
            callbacks=callbacks, shuffle=False, verbose=1 if sys.stdout.isatty() else 2,
        )  # fmt: skip
    elif settings.ema_momentum:  # killed between the last checkpoint and the end of fit, which does this
        model.optimizer.finalize_variable_values(model.trainable_weights)
    result = delivered(model, side_px)
    return Trained(result, history, result.count_params(), precision, start)


def fastest_precision() -> str:
    """`mixed_bfloat16` where this machine multiplies bfloat16 in hardware, otherwise `float32`.

    Without such hardware bfloat16 is emulated and slower than float32.
    """
    if tf.config.list_physical_devices("GPU"):
        return "mixed_bfloat16"
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    return "mixed_bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def _compiled(settings: Train, side_px: int, steps: int) -> keras.Model:
    model = build_network(settings.network, side_px, settings.dropout, fused=True)
    model.compile(
        optimizer=_optimizer(settings, steps),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.BinaryAccuracy(threshold=0.0, name="accuracy"),
            keras.metrics.AUC(from_logits=True, name="auc"),
        ],
    )
    return model


def _state(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _optimizer(settings: Train, steps: int) -> Any:
    """Adam for the original network, as its README says; Adam with decoupled weight decay for ours."""
    ema = {"use_ema": bool(settings.ema_momentum), "ema_momentum": settings.ema_momentum or 0.99}
    if settings.network == "original":
        return keras.optimizers.Adam(settings.learning_rate, **ema)
    warmup = settings.warmup_epochs * steps
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=settings.learning_rate / 100 if warmup else settings.learning_rate,
        decay_steps=max(1, settings.epochs * steps - warmup),
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, **ema)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return optimizer


class _Epochs(keras.callbacks.Callback):  # type: ignore[misc]
    """After each epoch: one row of history, one checkpoint, one call of `on_epoch`."""

    def __init__(
        self,
        history: list[Row],
        checkpoint: Checkpoint,
        on_epoch: Callable[[int, Mapping[str, float]], None],
    ) -> None:
        super().__init__()
        self.history, self.checkpoint, self.notify = history, checkpoint, on_epoch

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        row = {name: float(value) for name, value in (logs or {}).items()}
        self.history.append({"epoch": epoch + 1, **row, "learning_rate": float(self.model.optimizer.learning_rate)})
        self.checkpoint.save(self.model, self.history)
        self.notify(epoch + 1, self.history[-1])
