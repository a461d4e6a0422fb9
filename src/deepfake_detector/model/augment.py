"""Crop uint8 (side, side, 3) and a seed (2,) -> changed crop, both classes alike, inside tf.data."""

from __future__ import annotations

import tensorflow as tf

SHIFT_PX = 4


def flip_and_shift(crop: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirror half of the crops and move each by up to 4 whole pixels, its border mirrored.

    Nothing is interpolated: the traces of a camera or a generator stay as they are.

    Args:
        crop: uint8 (side, side, 3).
        seed: int (2,); the same seed gives the same crop.
    """
    shape = tf.shape(crop)
    crop = tf.image.stateless_random_flip_left_right(crop, seed)
    wide = tf.pad(crop, [[SHIFT_PX, SHIFT_PX], [SHIFT_PX, SHIFT_PX], [0, 0]], mode="REFLECT")
    return tf.ensure_shape(tf.image.stateless_random_crop(wide, shape, seed + 1), crop.shape)
