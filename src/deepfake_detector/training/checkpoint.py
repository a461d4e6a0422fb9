"""The state of a training in progress <-> one .npz file, written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from deepfake_detector.io import atomic_write
from deepfake_detector.model.ema import Arrays

EpochMetrics = dict[str, float]  # one epoch: epoch, loss, accuracy, auc, val_..., learning_rate


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint holds beside the variables of model and optimizer."""

    history: list[EpochMetrics]
    averages: Arrays  # of the weights; empty without averaging
    best_weights: Arrays  # of the best epoch so far


@dataclass(frozen=True)
class Checkpoint:
    """The file that keeps the state of one training."""

    path: Path

    def save(self, model: keras.Model, state: TrainingState) -> None:
        """Write the state and every variable of model and optimizer, the random state of dropout included."""
        arrays = _numbered("state", _variables(model))
        arrays |= _numbered("average", state.averages) | _numbered("best", state.best_weights)
        with atomic_write(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, history=np.asarray(json.dumps(state.history)), **arrays)

    def restore(self, model: keras.Model) -> TrainingState | None:
        """Assign the variables of a compiled model and return the rest; None without a checkpoint."""
        if not self.path.is_file():
            return None
        model.optimizer.build(model.trainable_variables)
        with np.load(self.path, allow_pickle=False) as arrays:
            for variable, array in zip(_variables(model), _numbered_arrays("state", arrays), strict=True):
                variable.assign(array)
            history: list[EpochMetrics] = json.loads(str(arrays["history"]))
            return TrainingState(history, _numbered_arrays("average", arrays), _numbered_arrays("best", arrays))

    def clear(self) -> None:
        """Delete the file: the training is finished and its result is written."""
        self.path.unlink(missing_ok=True)


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _numbered(name: str, values: Sequence[Any]) -> dict[str, Any]:
    return {f"{name}-{i}": np.asarray(value) for i, value in enumerate(values)}


def _numbered_arrays(name: str, arrays: Mapping[str, Any]) -> list[Any]:
    count = sum(key.startswith(f"{name}-") for key in arrays)
    return [arrays[f"{name}-{i}"] for i in range(count)]
