"""Shards -> tf.data batches: crops uint8 (b, side, side, 3) and classes int64 (b,), 0 = real, 1.. = kinds of fakes.

With a batch mix, training batches have a class per cell of the logit map instead: (b, cells, cells, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from deepfake_detector.errors import DataRejected
from deepfake_detector.parallel import available_cores, limit_opencv_to_one_thread
from deepfake_detector.preparation.shards import Shards

# Crop (side, side, 3), landmarks (5, 2) px, class, random generator -> crop and class.
CropTransform = Callable[
    [NDArray[np.uint8], NDArray[np.float32], int, np.random.Generator], tuple[NDArray[np.uint8], int]
]


class BatchMix(Protocol):
    """Mixes the crops of a batch, as `media.augmentation.CutMixPatches` does."""

    def __call__(
        self, crops: NDArray[np.uint8], classes: NDArray[np.int64], rng: np.random.Generator, /
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Crops (b, side, side, 3), classes (b,) -> new crops and the classes of their cells (b, cells, cells, 1)."""
        ...

    def cells(self, side_px: int) -> int:
        """Cells along one side of the logit map of a crop."""
        ...


# Of the validation split, whatever `train.batch_size` is: random transforms depend on the position in the batch, and
# validation figures of different trainings must be comparable.
HELD_OUT_BATCH_SIZE = 64
SHUFFLE_BYTES = 512 * 2**20  # upper limit of the shuffle buffer; the crops in the shards are already in random order


def parallel_batches() -> int:
    """Number of batches transformed at once, each by one thread; it does not change what they hold.

    OpenCV and Pillow release Python's lock but compete with the training for the same cores: on two cores, two keep up
    with it. Where a GPU trains, half of many cores feed it.
    """
    return max(2, available_cores() // 2)


def fitting_batch_size(batch_size: int, crops: int) -> int:
    """`train.batch_size`, or a smaller even one for fewer training crops: a batch holds no crop twice.

    Raises:
        DataRejected: there are fewer than two crops.
    """
    if crops < 2:
        raise DataRejected(
            f"there are {crops} training crops, and two is the least that can be trained on",
            "add pictures, or see reports/prepare.json: it counts the pictures without a crop, and why",
        )
    return min(batch_size, crops - crops % 2)


def steps_per_epoch(shards: Shards, batch_size: int) -> int:
    """Whole batches in the training split; `batch_size` as `fitting_batch_size` gives it."""
    return shards.crops["train"] // batch_size


def training_batches(
    shards: Shards,
    batch_size: int,
    seed: int,
    kinds: Sequence[str],
    transform: CropTransform,
    mix: BatchMix | None = None,
) -> Callable[[int], tf.data.Dataset]:
    """Endless, shuffled and augmented batches of the training split.

    Order and augmentation depend on (seed, epoch, step) only, so a training that is resumed at an epoch gets the same
    batches as an uninterrupted one.

    Args:
        shards: the crops.
        batch_size: crops in a batch; an incomplete batch at the end of an epoch is dropped.
        seed: of order and augmentation.
        kinds: of fakes, in the order of the classes 1, 2, ...
        transform: applied to each crop.
        mix: applied to each batch after that.

    Returns:
        A function from the first epoch to a data set.
    """
    limit_opencv_to_one_thread()
    buffer = max(1, min(shards.crops["train"], SHUFFLE_BYTES // (shards.side_px**2 * 3)))

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        rows = shards.rows("train").shuffle(buffer, seed=seed * 100_003 + number)
        batches = rows.batch(batch_size, drop_remainder=True).enumerate()
        return batches.map(
            lambda step, row: _transform_batch(row, kinds, transform, (seed, number, step), mix),
            num_parallel_calls=parallel_batches(),
        )

    return lambda first: tf.data.Dataset.range(first, 2**31).flat_map(epoch).prefetch(2)


def held_out_batches(
    shards: Shards, split: str, batch_size: int, kinds: Sequence[str], transforms: Sequence[CropTransform]
) -> tf.data.Dataset:
    """A split in its own order, once per transform; the last batch of each round may be smaller.

    The random draws are the same at every pass, so that the figures of two epochs are comparable.
    """
    rounds = [
        shards.rows(split).batch(batch_size).enumerate().map(
            lambda step, row, transform=transform, number=number: _transform_batch(
                row, kinds, transform, (0, number, step)
            ),
            num_parallel_calls=parallel_batches(),
        )
        for number, transform in enumerate(transforms)
    ]  # fmt: skip
    batches = rounds[0]
    for more in rounds[1:]:
        batches = batches.concatenate(more)
    # Keras warns that a data set of unknown length ran out of data.
    length = len(rounds) * -(-shards.crops[split] // batch_size)
    return batches.apply(tf.data.experimental.assert_cardinality(length)).prefetch(2)


def _transform_batch(
    row: dict[str, tf.Tensor],
    kinds: Sequence[str],
    transform: CropTransform,
    seed: Sequence[Any],
    mix: BatchMix | None = None,
) -> Any:
    known = tf.constant(list(kinds))
    codes = tf.where(
        row["label"] == 0, tf.constant(0, tf.int64), 1 + tf.argmax(row["kind"][:, None] == known[None], axis=1)
    )
    state = tf.stack([tf.cast(part, tf.int64) for part in seed])

    def in_numpy(crops: Any, landmarks: Any, codes: Any, state: Any) -> Any:
        transformed = [
            transform(crop, points, int(code), np.random.default_rng([*state, i]))
            for i, (crop, points, code) in enumerate(zip(crops, landmarks, codes, strict=True))
        ]
        pixels = np.stack([crop for crop, _ in transformed])
        classes = np.array([code for _, code in transformed], np.int64)
        return mix(pixels, classes, np.random.default_rng([*state, len(pixels)])) if mix else (pixels, classes)

    pixels, classes = tf.numpy_function(
        in_numpy, [row["pixels"], row["landmarks"], codes, state], (tf.uint8, tf.int64), stateful=False
    )
    cells = [*(mix.cells(row["pixels"].shape[1]),) * 2, 1] if mix else []
    return tf.ensure_shape(pixels, row["pixels"].shape), tf.ensure_shape(classes, codes.shape + cells)
