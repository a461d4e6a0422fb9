"""Kind logits of several branches, each (n, h, w, k) -> the same with equal standard deviations, for their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.model.losses import fake_logit

MOMENTUM = 0.98  # over about 50 steps


class BranchScales(keras.layers.Layer):  # type: ignore[misc]
    """Scales branches outside training so that none dominates their mean.

    In training the branches pass unchanged, because each learns from the loss of its own output, and the standard
    deviation of each branch's fake logit over the faces of a batch is averaged. Outside training each branch is divided
    by its standard deviation and multiplied by the geometric mean of all. No label is used. With equal deviations the
    mean of two networks was as good as a fitted combination (docs/generalization.md, "Operating points").
    """

    def build(self, shapes: Sequence[Any]) -> None:
        """Create the moving standard deviations, one per branch."""
        self.deviations = self.add_weight(
            shape=(len(shapes),), initializer="ones", trainable=False, dtype="float32", name="moving_deviation"
        )

    def call(self, maps: Sequence[Any], training: bool | None = None) -> list[Any]:
        """Branches, each (n, h, w, k) -> the same shapes."""
        if not training:
            scales = _scales(keras.ops.convert_to_tensor(self.deviations), keras.ops)
            return [branch * scales[i] for i, branch in enumerate(maps)]
        found = keras.ops.stack([keras.ops.std(fake_logit(branch)) for branch in maps])
        self.deviations.assign(self.deviations * MOMENTUM + found * (1 - MOMENTUM))
        return list(maps)

    def compute_output_shape(self, shapes: Sequence[Any]) -> list[Any]:
        """The shapes of the branches."""
        return list(shapes)

    def factors(self) -> NDArray[np.float32]:
        """The factor of each branch, (branches,)."""
        return np.asarray(_scales(np.array(self.deviations, np.float32), np), np.float32)


def _scales(deviations: Any, array: Any) -> Any:
    """Factors (branches,) with the product 1; `array` is `numpy` or `keras.ops`."""
    log = array.log(array.maximum(deviations, 1e-3))
    return array.exp(array.mean(log) - log)
