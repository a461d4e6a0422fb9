"""A network in training -> the exponential moving average of its weights, used for validation and delivery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Arrays = list[NDArray[np.float32]]
Logs = Mapping[str, float] | None


class ExponentialMovingAverage(keras.callbacks.Callback):  # type: ignore[misc]
    """Averages all weights, the moving statistics of normalisation layers included.

    Keras's own averaging (`use_ema`) leaves those statistics out, and averaged weights with the statistics of other
    weights are worse than no averaging. In the first steps the momentum is lower: the random start is forgotten.

    Args:
        momentum: share of the old average that stays at each step; 0: no averaging.
    """

    def __init__(self, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self._averages: list[keras.Variable] = []
        self._training_weights: Arrays = []
        self._update: Any = None

    def averaged_weights(self) -> Arrays:
        """The averages, in the order of `model.weights`; the weights themselves before the first step."""
        return _to_numpy(self._averages or self.model.weights)

    def restore(self, model: keras.Model, arrays: Sequence[NDArray[np.float32]]) -> None:
        """Continue from the averages of a checkpoint."""
        self.set_model(model)
        self._start()
        for average, array in zip(self._averages, arrays, strict=True):
            average.assign(array)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Update the averages with the weights of this step."""
        if not self.momentum:
            return
        if not self._averages:
            self._start()
        step = int(self.model.optimizer.iterations)
        keep = min(self.momentum, (1 + step) / (10 + step))
        self._update(np.float32(keep), np.float32(1 - keep))

    def on_test_begin(self, logs: Logs = None) -> None:
        """Validate with the averages."""
        self._training_weights = _to_numpy(self.model.weights)
        self._assign(self.averaged_weights())

    def on_test_end(self, logs: Logs = None) -> None:
        """Continue training with the weights themselves."""
        self._assign(self._training_weights)

    def _start(self) -> None:
        if self.momentum:
            self._averages = [keras.Variable(value, dtype="float32") for value in _to_numpy(self.model.weights)]
            pairs = list(zip(self._averages, self.model.weights, strict=True))
            self._update = _compiled(lambda keep, add: _average(pairs, keep, add))

    def _assign(self, arrays: Arrays) -> None:
        for weight, array in zip(self.model.weights, arrays, strict=True):
            weight.assign(array)


def _to_numpy(variables: Sequence[Any]) -> Arrays:
    return [np.array(variable, np.float32) for variable in variables]


def _average(pairs: Sequence[tuple[Any, Any]], keep: Any, add: Any) -> None:
    for average, weight in pairs:
        average.assign(average.value * keep + keras.ops.cast(weight.value, "float32") * add)


def _compiled(function: Any) -> Any:
    """One graph with TensorFlow: a call per weight took a tenth of a step of `fused`, which has 320 of them."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function)
