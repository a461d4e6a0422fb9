"""Settings -> Keras CNN: uint8 or float RGB crops (n, side, side, 3) -> logits (n,); above 0 means fake.

A crop is real or one of k kinds of fake (generated, swapped). The network gives each kind a logit against real. The
probability of being fake is the sum of the kinds' softmax probabilities; its logit is `logsumexp` over the kinds. With
k = 1 this is the usual sigmoid.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

MAP_LAYER = "kinds_map"  # (n, h, w, k): logits of the kinds in each cell of the crop
KINDS_LAYER = "kinds"  # (n, k): their mean over the cells
HIGH_PASS_LAYER = "residual"  # (n, h/2, w/2, 12): the four pixels of a 2x2 block, three colours each
# Per resolution: side/2, side/4, side/8, side/16. At the last one the receptive field covers the whole face: validation
# AUC after ten epochs 0.929, without it 0.913.
CHANNELS = ((48, 48), (96, 96), (128, 128), (160, 160))


def build_network(name: str, side_px: int, dropout: float, fused: bool = False, kinds: int = 1) -> keras.Model:
    """Build an untrained network.

    Args:
        name: `residual` (ours, 0.8 M parameters), `plain` (the same trunk behind a learned front end on RGB, for
            comparison) or `original` (the CNN of the original README, 6.5 M at 128 px).
        side_px: side of the crops.
        dropout: share of features dropped before the classifier; `original` keeps its own 0.5.
        fused: normalise with TensorFlow's fused kernel, 4 times faster in training. The weights are the same either
            way: `portable_copy` moves them to a network with `fused=False`, which loads wherever Keras does.
        kinds: number of kinds of fakes; `original` separates only real from fake and ignores it.

    Returns:
        A model from crops (n, side, side, 3), dtype uint8, to float32 logits (n,).
    """
    crops = keras.Input((side_px, side_px, 3), dtype="uint8", name="crops")
    kind_logits = (
        _original(crops, fused) if name == "original" else _trunk(_front_end(crops, name), dropout, fused, kinds)
    )
    logits = keras.layers.Identity(dtype="float32", name="logits")(keras.ops.logsumexp(kind_logits, axis=-1))
    model = keras.Model(crops, logits, name=name)
    if name == "residual":
        model.get_layer(HIGH_PASS_LAYER).set_weights([_high_pass_kernel()])
    return model


def per_cell(model: keras.Model) -> keras.Model:
    """The same network with the logit map as output: crops (n, side, side, 3) -> (n, h, w, k).

    Training fits this model; the mean over the cells is the logit of the face.
    """
    return keras.Model(model.input, model.get_layer(MAP_LAYER).output, name=model.name)


def cell_px() -> int:
    """Side of the square of a crop that one cell of the logit map of `residual` and `plain` stands for."""
    return int(2 ** len(CHANNELS))  # the front end halves, and so does each level but the first


def with_logit_map(model: keras.Model, mirrored: bool = False) -> keras.Model:
    """The same network with two more outputs: the logit of each kind, and the logit map.

    Args:
        model: crops (n, side, side, 3) -> logits (n,).
        mirrored: average the outputs of each crop and of its mirror image (test-time augmentation). The answer then
            does not change when a picture is flipped, and the AUC rises slightly, for twice the time.

    Returns:
        A model from crops (n, side, side, 3) to `{"logits": (n,), "logit_map": (n, h, w), "kinds": (n, k)}`. A cell of
        the map is the logit of its part of the crop; `original` has a dense layer and therefore one cell.
    """
    # Rebuilt: Keras counts operation names per process, so those of a loaded model clash with new ones.
    model = portable_copy(model, model.input.shape[1])
    cells = keras.Model(model.input, model.get_layer(MAP_LAYER).output, name="cells")
    crops = keras.Input(model.input.shape[1:], dtype="uint8", name="crops")
    cell_logits = cells(crops)
    if mirrored:
        cell_logits = (cell_logits + keras.ops.flip(cells(keras.ops.flip(crops, axis=2)), axis=2)) / 2
    kinds = keras.ops.mean(cell_logits, axis=(1, 2))
    outputs = {
        "logits": keras.ops.logsumexp(kinds, axis=-1),
        "logit_map": keras.ops.logsumexp(cell_logits, axis=-1),
        "kinds": kinds,
    }
    return keras.Model(crops, outputs)


def portable_copy(model: keras.Model, side_px: int) -> keras.Model:
    """The same weights in a float32 network of Keras's own layers, which loads without this package."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        copy = build_network(model.name, side_px, dropout=0.0, kinds=model.get_layer(KINDS_LAYER).output.shape[-1])
    finally:
        keras.config.set_dtype_policy(policy)
    copy.set_weights(model.get_weights())
    return copy


def _front_end(crops: Any, name: str) -> Any:
    """Fixed high-pass residual (`residual`) or learned 4x4 convolution (`plain`): (n, h, w, 3) -> (n, h/2, w/2, 12).

    The residual is each pixel minus the mean of its eight neighbours. Small detectors learn most from it: AUC 0.903
    against 0.821 for RGB on 1,760 images. The four pixels of a 2x2 block become channels of one position, so the first
    convolutions cost a quarter and no information is lost. Differences within each block alone lose those between
    blocks: after 100 epochs AUC 0.988 and accuracy 0.968 on held-out pictures instead of 0.992 and 0.973
    (docs/experiments.md).
    """
    if name == "plain":
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(_pad_reflect(crops))
        return keras.layers.Conv2D(12, 4, strides=2, name="mixture")(x)
    x = keras.layers.Rescaling(1.0, name="cast")(_pad_reflect(crops))  # whole numbers up to 255 are exact in bfloat16
    return keras.layers.Conv2D(12, 4, strides=2, use_bias=False, trainable=False, name=HIGH_PASS_LAYER)(x)


def _pad_reflect(crops: Any) -> Any:
    """One more pixel on each side, reflected: zero padding would be an edge that no picture has."""
    return keras.ops.pad(crops, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")


def _trunk(x: Any, dropout: float, fused: bool, kinds: int) -> Any:
    """Convolutional trunk and 1x1 classifier: features -> kind logits per cell -> their mean (n, k)."""
    for level, channels in enumerate(CHANNELS):
        if level:
            x = keras.layers.AveragePooling2D(2, name=f"pool{level}")(x)
        for i, width in enumerate(channels):
            x = _conv_block(x, width, f"conv{level}_{i}", fused)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    x = keras.layers.Conv2D(kinds, 1, dtype="float32", name=MAP_LAYER)(x)
    return keras.layers.GlobalAveragePooling2D(dtype="float32", name=KINDS_LAYER)(x)


def _conv_block(x: Any, width: int, name: str, fused: bool) -> Any:
    # Full 3x3 convolutions: depthwise ones need 8.5 times fewer operations but are only twice as fast on a CPU.
    x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=name)(x)
    # Momentum 0.99 lags behind in trainings of a few hundred steps.
    x = _normalisation_layer(fused)(momentum=0.9, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _original(crops: Any, fused: bool) -> Any:
    """The original README's layers: Conv2D, MaxPooling, BatchNorm, Dropout; ReLU; the sigmoid is in the loss."""
    x = keras.layers.Rescaling(1 / 255, name="scale")(crops)
    for i, width in enumerate((32, 64, 128)):
        x = keras.layers.Conv2D(width, 3, activation="relu", name=f"conv{i}")(x)
        x = _normalisation_layer(fused)(name=f"norm{i}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{i}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(256, activation="relu", name="dense")(x)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    x = keras.layers.Dense(1, dtype="float32", name="decision")(x)
    x = keras.layers.Reshape((1, 1, 1), dtype="float32", name=MAP_LAYER)(x)
    return keras.layers.Reshape((1,), dtype="float32", name=KINDS_LAYER)(x)


def _normalisation_layer(fused: bool) -> Any:
    return FusedBatchNormalization if fused else keras.layers.BatchNormalization


def _high_pass_kernel() -> NDArray[np.float32]:
    """Kernel (4, 4, 3, 12): each of the four inner pixels, per colour, minus the mean of the eight around it."""
    kernel = np.zeros((4, 4, 3, 12), np.float32)
    for i, (row, column) in enumerate(((1, 1), (1, 2), (2, 1), (2, 2))):
        for colour in range(3):
            kernel[row - 1 : row + 2, column - 1 : column + 2, colour, 3 * i + colour] = -1
            kernel[row, column, colour, 3 * i + colour] = 8
    # A power of two: exact in bfloat16, so that a uniform picture gives zero; 16 grey levels become about 1.
    return kernel / np.float32(128)


class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation through TensorFlow's fused kernel; other backends fuse by themselves.

    Keras 3 composes the same arithmetic from single operations, each a pass over memory: 75 images per second instead
    of 301 for this network in bfloat16 on two cores.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise `inputs` (n, height, width, channels) over all but the last axis."""
        if keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        training_step = bool(training) and self.trainable
        moving = (
            {} if training_step else {"mean": _float32(self.moving_mean), "variance": _float32(self.moving_variance)}
        )
        out, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, _float32(self.gamma), _float32(self.beta), epsilon=self.epsilon, is_training=training_step, **moving
        )
        if training_step:
            keep = self.momentum
            self.moving_mean.assign(_float32(self.moving_mean) * keep + mean * (1 - keep))
            self.moving_variance.assign(_float32(self.moving_variance) * keep + variance * (1 - keep))
        return out


def _float32(variable: Any) -> Any:
    # `_value` skips the autocast of mixed precision: the kernel needs its statistics in float32.
    return variable._value
