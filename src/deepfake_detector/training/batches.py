"""Shards -> tf.data batches: crops uint8 (b, side, side, 3) and classes int64 (b,), 0 = real, 1.. = kinds of fakes.

A mix of training crops has classes of places instead: (b, places, places, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from deepfake_detector.errors import DataRejected
from deepfake_detector.parallel import limit_opencv_to_one_thread
from deepfake_detector.preparation.shards import Shards

# Crop (side, side, 3), landmarks (5, 2) px, class, random state -> crop and class.
Change = Callable[[NDArray[np.uint8], NDArray[np.float32], int, np.random.Generator], tuple[NDArray[np.uint8], int]]


class Mix(Protocol):
    """Crops (b, side, side, 3), classes (b,), random state -> crops and the classes of their places."""

    def __call__(
        self, crops: NDArray[np.uint8], classes: NDArray[np.int64], random: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Leave what is given as it is."""
        ...

    def places(self, side_px: int) -> int:
        """Along a side."""
        ...


# Of the validation split, whatever the training's batch is: its changes hang on the place in the batch, and figures of
# two trainings are compared.
HELD_OUT_BATCH = 64
SHUFFLE_BYTES = 512 * 2**20  # what the shuffle buffer may hold; the shards themselves lie in random order
# Batches changed at once, each by one thread. The changes are OpenCV's and Pillow's, which let go of Python's lock, but
# they compete with the training for the same cores: two keep up with it on two cores.
WORKERS = 2


def steps_per_epoch(shards: Shards, batch: int) -> int:
    """Whole batches in the training split.

    Raises:
        DataRejected: there are fewer crops than one batch.
    """
    crops = shards.crops.get("train", 0)
    if crops < batch:
        raise DataRejected(f"{crops} training crops do not fill one batch of {batch}", "lower train.batch_size")
    return crops // batch


def training_batches(
    shards: Shards, batch: int, seed: int, kinds: Sequence[str], change: Change, mix: Mix | None = None
) -> Callable[[int], tf.data.Dataset]:
    """Endless, shuffled and changed batches of the training split.

    Order and changes depend on (seed, epoch, step) alone, so a training that resumes at an epoch sees what it would
    have seen without the interruption.

    Args:
        shards: the crops.
        batch: crops in a batch; what is left over at the end of an epoch is dropped.
        seed: of order and changes.
        kinds: of fakes, in the order of the classes 1, 2, ...
        change: what is done to each crop.
        mix: what is done to the crops of a batch after that.

    Returns:
        A function from the first epoch to a data set.
    """
    limit_opencv_to_one_thread()
    buffer = max(1, min(shards.crops["train"], SHUFFLE_BYTES // (shards.side_px**2 * 3)))

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        rows = shards.rows("train").shuffle(buffer, seed=seed * 100_003 + number)
        batches = rows.batch(batch, drop_remainder=True).enumerate()
        return batches.map(
            lambda step, row: _changed(row, kinds, change, (seed, number, step), mix), num_parallel_calls=WORKERS
        )

    return lambda first: tf.data.Dataset.range(first, 2**31).flat_map(epoch).prefetch(2)


def held_out_batches(
    shards: Shards, split: str, batch: int, kinds: Sequence[str], changes: Sequence[Change]
) -> tf.data.Dataset:
    """A split in its own order, once for each of `changes`, the last batch of each round smaller.

    The changes are always the same ones, so that figures of two epochs can be compared.
    """
    rounds = [
        shards.rows(split).batch(batch).enumerate().map(
            lambda step, row, change=change, number=number: _changed(row, kinds, change, (0, number, step)),
            num_parallel_calls=WORKERS,
        )
        for number, change in enumerate(changes)
    ]  # fmt: skip
    everything = rounds[0]
    for more in rounds[1:]:
        everything = everything.concatenate(more)
    # Keras warns of running dry when a data set cannot tell its length.
    length = len(rounds) * -(-shards.crops[split] // batch)
    return everything.apply(tf.data.experimental.assert_cardinality(length)).prefetch(2)


def _changed(
    row: dict[str, tf.Tensor], kinds: Sequence[str], change: Change, seed: Sequence[Any], mix: Mix | None = None
) -> Any:
    known = tf.constant(list(kinds))
    codes = tf.where(
        row["label"] == 0, tf.constant(0, tf.int64), 1 + tf.argmax(row["kind"][:, None] == known[None], axis=1)
    )
    state = tf.stack([tf.cast(part, tf.int64) for part in seed])

    def each(crops: Any, landmarks: Any, codes: Any, state: Any) -> Any:
        found = [
            change(crop, place, int(code), np.random.default_rng([*state, i]))
            for i, (crop, place, code) in enumerate(zip(crops, landmarks, codes, strict=True))
        ]
        pixels, classes = np.stack([crop for crop, _ in found]), np.array([code for _, code in found], np.int64)
        return mix(pixels, classes, np.random.default_rng([*state, len(found)])) if mix else (pixels, classes)

    pixels, classes = tf.numpy_function(
        each, [row["pixels"], row["landmarks"], codes, state], (tf.uint8, tf.int64), stateful=False
    )
    of_places = [*(mix.places(row["pixels"].shape[1]),) * 2, 1] if mix else []
    return tf.ensure_shape(pixels, row["pixels"].shape), tf.ensure_shape(classes, codes.shape + of_places)
