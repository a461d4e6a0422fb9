"""Shards -> tf.data batches of balanced sampling: crops uint8 (b, side, side, 3) and classes int64 (b,), 0 = real.

Every crop is read from its position in the shards: a batch needs no shuffle buffer, and any batch can be made without
those before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from deepfake_detector.config import Train
from deepfake_detector.media.augmentation import Augment, Level
from deepfake_detector.parallel import limit_opencv_to_one_thread
from deepfake_detector.preparation.shards import RecordReader, Shards
from deepfake_detector.training.balanced_sampling import BalancedSampler, Draw
from deepfake_detector.training.batches import HELD_OUT_BATCH_SIZE, BatchMix, CropTransform, parallel_batches

# Of each class of each source: a large source would take most of the time of an epoch and most of the figures.
MAX_VALID_CROPS = 200
Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class BalancedAugment:
    """Changes the crops of balanced sampling.

    Crops that already have a random size, sharpness and codec are not corrupted once more. Reals and fakes of all
    sources go through the same changes with the same odds.

    Args:
        level: `train.augment`, of unchanged crops and of self-blended images.
        blended_code: class of self-blended images.
    """

    level: Level
    blended_code: int

    def __call__(
        self,
        crop: NDArray[np.uint8],
        landmarks_px: NDArray[np.float32],
        code: int,
        draw: Draw,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], int]:
        """Change one crop (side, side, 3); see `media.augmentation.Augment`."""
        if draw.matched:
            level: Level = "light" if self.level == "corruptions" else self.level
            return Augment(level)(crop, landmarks_px, code, rng)
        blend = 1.0 if draw.blended else 0.0
        return Augment(self.level, blend, self.blended_code)(crop, landmarks_px, code, rng)


def balanced_steps(settings: Train, sampler: BalancedSampler) -> int:
    """Batches in an epoch: `train.steps_per_epoch`, or as many as the pictures fill."""
    return settings.steps_per_epoch or max(1, sampler.pictures // settings.batch_size)


def balanced_training_batches(
    shards: Shards,
    index: pd.DataFrame,
    sampler: BalancedSampler,
    steps: int,
    seed: int,
    kinds: Sequence[str],
    augment: BalancedAugment,
    mix: BatchMix | None = None,
) -> Callable[[int], tf.data.Dataset]:
    """Endless batches; each depends on (seed, epoch, step) only.

    Shards, seed, kinds, mix and what is returned are as for `batches.training_batches`.

    Args:
        index: of the shards, that of the sampler.
        sampler: chooses the crops.
        steps: batches per epoch.
        augment: applied to each crop.
    """
    records = _Records(shards, index, kinds)

    def batch(number: Any) -> Batch:
        state = [seed, *divmod(int(number), steps)]
        draws = sampler.draw(np.random.default_rng(state))
        made = [
            augment(*records.read(draw.row), draw, np.random.default_rng([*state, i])) for i, draw in enumerate(draws)
        ]
        crops, classes = np.stack([crop for crop, _ in made]), np.array([code for _, code in made], np.int64)
        return mix(crops, classes, np.random.default_rng([*state, len(made)])) if mix else (crops, classes)

    cells = [*(mix.cells(shards.side_px),) * 2, 1] if mix else []
    size = sampler.reals + sampler.fakes + sampler.blended
    shapes = [size, shards.side_px, shards.side_px, 3], [size, *cells]
    return lambda first: (
        tf.data.Dataset.range(first * steps, 2**62)
        .map(lambda number: _in_numpy(batch, number, *shapes), num_parallel_calls=parallel_batches())
        .prefetch(2)
    )


def balanced_valid_batches(
    shards: Shards,
    index: pd.DataFrame,
    weights: Mapping[str, float],
    kinds: Sequence[str],
    transforms: Sequence[CropTransform],
) -> tf.data.Dataset:
    """Validation crops of the sources that have a weight, at most 200 of each class of each, once per transform.

    The random draws are the same at every pass, so that the figures of two epochs are comparable.
    """
    records, rows = _Records(shards, index, kinds), valid_rows(index, weights)
    starts = range(0, len(rows), HELD_OUT_BATCH_SIZE)

    def batch(number: int, transform: CropTransform) -> Batch:
        chosen = rows[starts[number] : starts[number] + HELD_OUT_BATCH_SIZE]
        made = [transform(*records.read(row), np.random.default_rng([0, number, i])) for i, row in enumerate(chosen)]
        return np.stack([crop for crop, _ in made]), np.array([code for _, code in made], np.int64)

    def batches() -> Iterator[Batch]:
        for transform in transforms:
            yield from (batch(number, transform) for number in range(len(starts)))

    side_px = shards.side_px
    signature = tf.TensorSpec((None, side_px, side_px, 3), tf.uint8), tf.TensorSpec((None,), tf.int64)
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    # Keras warns that a data set of unknown length ran out of data.
    return data.apply(tf.data.experimental.assert_cardinality(len(starts) * len(transforms))).prefetch(2)


def valid_rows(index: pd.DataFrame, weights: Mapping[str, float]) -> NDArray[np.int64]:
    """Rows of the index that are validated, evenly spaced in each class of each source; alternating as in the index."""
    kept = index[(index["split"] == "valid") & (index["shard"] != "") & index["source"].isin(list(weights))]
    chosen = [
        rows.index[np.linspace(0, len(rows) - 1, min(len(rows), MAX_VALID_CROPS)).astype(int)]
        for _, rows in kept.groupby(["source", "label"])
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64) if chosen else np.empty(0, np.int64)


class _Records:
    """Row of the index -> crop (side, side, 3), landmarks (5, 2) px and class."""

    def __init__(self, shards: Shards, index: pd.DataFrame, kinds: Sequence[str]) -> None:
        limit_opencv_to_one_thread()
        self._reader = RecordReader(shards.folder)  # open as long as the data set is used
        self._shards, self._offsets = index["shard"].to_numpy(), index["offset"].to_numpy(np.int64)
        self._codes = {"": 0} | {kind: 1 + i for i, kind in enumerate(kinds)}

    def read(self, row: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], int]:
        record = self._reader.read(str(self._shards[row]), int(self._offsets[row]))
        return record.pixels, record.landmarks_px, self._codes.get(record.kind, 1)


def _in_numpy(batch: Callable[[Any], Batch], number: tf.Tensor, crops: list[int], classes: list[int]) -> Any:
    made = tf.numpy_function(batch, [number], (tf.uint8, tf.int64), stateful=False)
    return tf.ensure_shape(made[0], crops), tf.ensure_shape(made[1], classes)
