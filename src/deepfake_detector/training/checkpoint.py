"""The whole state of a training in progress <-> one .npz file that is only ever replaced whole."""

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

Row = dict[str, float]  # one epoch: loss, accuracy, auc, val_..., learning_rate


@dataclass(frozen=True)
class Kept:
    """What a checkpoint holds beside the variables of model and optimizer."""

    history: list[Row]
    averages: Arrays
    best: Arrays  # the weights of the best epoch so far


@dataclass(frozen=True)
class Checkpoint:
    """Where the state of one training is kept."""

    path: Path

    def save(self, model: keras.Model, kept: Kept) -> None:
        """Keep every variable of model and optimizer (dropout's random state too) and the rest."""
        arrays = _numbered("state", _state(model))
        arrays |= _numbered("average", kept.averages) | _numbered("best", kept.best)
        with atomic_write(self.path) as temporary, temporary.open("wb") as file:
            np.savez(file, history=np.asarray(json.dumps(kept.history)), **arrays)

    def restore(self, model: keras.Model) -> Kept | None:
        """Put the state into a compiled model and return the rest; None when there is no checkpoint."""
        if not self.path.is_file():
            return None
        model.optimizer.build(model.trainable_variables)
        with np.load(self.path, allow_pickle=False) as arrays:
            for variable, array in zip(_state(model), _gathered("state", arrays), strict=True):
                variable.assign(array)
            history: list[Row] = json.loads(str(arrays["history"]))
            return Kept(history, _gathered("average", arrays), _gathered("best", arrays))

    def clear(self) -> None:
        """Forget the state: the training is finished and its result is safe."""
        self.path.unlink(missing_ok=True)


def _state(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _numbered(name: str, values: Sequence[Any]) -> dict[str, Any]:
    return {f"{name}-{i}": np.asarray(value) for i, value in enumerate(values)}


def _gathered(name: str, arrays: Mapping[str, Any]) -> list[Any]:
    count = sum(key.startswith(f"{name}-") for key in arrays)
    return [arrays[f"{name}-{i}"] for i in range(count)]
