"""A network in training -> its weights averaged over the last steps, to validate with and to deliver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Arrays = list[NDArray[np.float32]]
Logs = Mapping[str, float] | None


class Averages(keras.callbacks.Callback):  # type: ignore[misc]
    """Exponential moving averages of all weights, the statistics of normalisation layers included.

    Keras' own averages leave those statistics out, and averaged weights with statistics of other weights are worse than
    no averages. Early on the average follows faster, so that it forgets the random start.

    Args:
        momentum: share of the old average that stays at each step; 0: the weights themselves.
    """

    def __init__(self, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self._shadows: list[keras.Variable] = []
        self._held: Arrays = []

    def arrays(self) -> Arrays:
        """The averages, in the order of `model.weights`; the weights themselves before the first step."""
        return _values(self._shadows or self.model.weights)

    def restore(self, model: keras.Model, arrays: Sequence[NDArray[np.float32]]) -> None:
        """Go on from averages kept earlier."""
        self.set_model(model)
        self._start()
        for shadow, array in zip(self._shadows, arrays, strict=True):
            shadow.assign(array)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Take the weights after one step into the averages."""
        if not self.momentum:
            return
        if not self._shadows:
            self._start()
        step = int(self.model.optimizer.iterations)
        keep = min(self.momentum, (1 + step) / (10 + step))
        for shadow, weight in zip(self._shadows, self.model.weights, strict=True):
            shadow.assign(shadow.value * keep + keras.ops.cast(weight.value, "float32") * (1 - keep))

    def on_test_begin(self, logs: Logs = None) -> None:
        """Validate with the averages."""
        self._held = _values(self.model.weights)
        self._assign(self.arrays())

    def on_test_end(self, logs: Logs = None) -> None:
        """Train on with the weights themselves."""
        self._assign(self._held)

    def _start(self) -> None:
        if self.momentum:
            self._shadows = [keras.Variable(value, dtype="float32") for value in _values(self.model.weights)]

    def _assign(self, arrays: Arrays) -> None:
        for weight, array in zip(self.model.weights, arrays, strict=True):
            weight.assign(array)


def _values(variables: Sequence[Any]) -> Arrays:
    return [np.array(variable, np.float32) for variable in variables]
