"""Settings -> Keras CNN: uint8 or float RGB crops (n, side, side, 3) -> logits (n,); above 0 means fake.

A crop is real or one of k kinds of fake (generated, swapped). The network gives each kind a logit against real; the
probability of any fake is their softmax' sum, whose own logit is `logsumexp` over the kinds. With k = 1 this is the
usual sigmoid.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

MAP_LAYER = "kinds_map"  # (n, h, w, k): what each place of the crop says of each kind
KINDS_LAYER = "kinds"  # (n, k)
FIXED_LAYER = "residual"  # (n, h/2, w/2, 12): four pixels of a 2x2 block, three colours each
# Per resolution: side/2, side/4, side/8, side/16. The last one lets each place see the whole face: validation AUC after
# ten epochs 0.929, without it 0.913.
CHANNELS = ((48, 48), (96, 96), (128, 128), (160, 160))


def build_network(name: str, side_px: int, dropout: float, fused: bool = False, kinds: int = 1) -> keras.Model:
    """Build an untrained network.

    Args:
        name: `residual` (ours, 0.8 M parameters), `plain` (the same behind a front end that is learnt from the colours
            themselves, for comparison) or `original` (the CNN of the original README, 6.5 M at 128 px).
        side_px: side of the crops.
        dropout: share of features dropped before the decision; `original` keeps its own 0.5.
        fused: normalise with TensorFlow's fused kernel while training (4 times faster there). The weights are the
            same either way, so a trained network is delivered with `fused=False` and loads wherever Keras does.
        kinds: how many kinds of fakes are told apart; `original` tells only real from fake, whatever is asked for.

    Returns:
        A model from crops (n, side, side, 3), dtype uint8, to float32 logits (n,).
    """
    crops = keras.Input((side_px, side_px, 3), dtype="uint8", name="crops")
    found = _original(crops, fused) if name == "original" else _local(_front(crops, name), dropout, fused, kinds)
    logits = keras.layers.Identity(dtype="float32", name="logits")(keras.ops.logsumexp(found, axis=-1))
    model = keras.Model(crops, logits, name=name)
    if name == "residual":
        model.get_layer(FIXED_LAYER).set_weights([_residual()])
    return model


def by_place(model: keras.Model) -> keras.Model:
    """The same network, asked for the logits of every place: crops (n, side, side, 3) -> (n, h, w, k).

    It is what is trained; the mean over the places is what it says of the face.
    """
    return keras.Model(model.input, model.get_layer(MAP_LAYER).output, name=model.name)


def place_px() -> int:
    """Side of the square of a crop that one place of the map of `residual` and `plain` stands for."""
    return int(2 ** len(CHANNELS))  # the front end halves, and so does each level but the first


def with_logit_map(model: keras.Model, mirrored: bool = False) -> keras.Model:
    """The same network with two more answers: which kind, and where in the crop it is seen.

    Args:
        model: crops (n, side, side, 3) -> logits (n,).
        mirrored: look at each crop and at its mirror image, and answer with the mean of both: what it says of a face
            does not change when the picture is flipped, and it is right more often, for twice the time.

    Returns:
        A model from crops (n, side, side, 3) to `{"logits": (n,), "logit_map": (n, h, w), "kinds": (n, k)}`. A cell of
        the map is to its place what the logit is to the crop; `original` decides after a dense layer and has one cell.
    """
    # Built anew: Keras counts the names of its operations per process, so those of a loaded model clash with new ones.
    model = delivered(model, model.input.shape[1])
    places = keras.Model(model.input, model.get_layer(MAP_LAYER).output, name="places")
    crops = keras.Input(model.input.shape[1:], dtype="uint8", name="crops")
    found = places(crops)
    if mirrored:
        found = (found + keras.ops.flip(places(keras.ops.flip(crops, axis=2)), axis=2)) / 2
    kinds = keras.ops.mean(found, axis=(1, 2))
    answers = {
        "logits": keras.ops.logsumexp(kinds, axis=-1),
        "logit_map": keras.ops.logsumexp(found, axis=-1),
        "kinds": kinds,
    }
    return keras.Model(crops, answers)


def delivered(model: keras.Model, side_px: int) -> keras.Model:
    """The trained weights in a float32 network made of Keras' own layers only."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        plain = build_network(model.name, side_px, dropout=0.0, kinds=model.get_layer(KINDS_LAYER).output.shape[-1])
    finally:
        keras.config.set_dtype_policy(policy)
    plain.set_weights(model.get_weights())
    return plain


def _front(crops: Any, name: str) -> Any:
    """What each pixel has that the mean of the eight around it lacks, or as many learnt mixtures of 4x4 pixels.

    The residual is what small detectors learn most from (AUC 0.903 against 0.821 for RGB on 1,760 images). The four
    pixels of a 2x2 block become channels of one place, which makes the first convolutions four times cheaper and loses
    nothing. Differences within each block alone do lose something, those between blocks: after 100 epochs AUC 0.988 and
    accuracy 0.968 on held-out pictures instead of 0.992 and 0.973 (docs/experiments.md).
    """
    if name == "plain":
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(_bordered(crops))
        return keras.layers.Conv2D(12, 4, strides=2, name="mixture")(x)
    x = keras.layers.Rescaling(1.0, name="cast")(_bordered(crops))  # whole numbers up to 255 are exact in bfloat16
    return keras.layers.Conv2D(12, 4, strides=2, use_bias=False, trainable=False, name=FIXED_LAYER)(x)


def _bordered(crops: Any) -> Any:
    """One more pixel around, mirrored: black ones would be an edge that no picture has."""
    return keras.ops.pad(crops, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")


def _local(x: Any, dropout: float, fused: bool, kinds: int) -> Any:
    """Plain convolutions with a local view, and one verdict per place, averaged."""
    for level, channels in enumerate(CHANNELS):
        if level:
            x = keras.layers.AveragePooling2D(2, name=f"pool{level}")(x)
        for i, width in enumerate(channels):
            x = _convolution(x, width, f"conv{level}_{i}", fused)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    x = keras.layers.Conv2D(kinds, 1, dtype="float32", name=MAP_LAYER)(x)
    return keras.layers.GlobalAveragePooling2D(dtype="float32", name=KINDS_LAYER)(x)


def _convolution(x: Any, width: int, name: str, fused: bool) -> Any:
    # Full 3x3 convolutions: depthwise ones do 8.5 times less work and are only twice as fast on a CPU.
    x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=name)(x)
    x = _normalisation(fused)(momentum=0.9, name=f"{name}_norm")(
        x
    )  # 0.99 lags behind in trainings of a few hundred steps
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _original(crops: Any, fused: bool) -> Any:
    """The original README's layers: Conv2D, MaxPooling, BatchNorm, Dropout; ReLU; a sigmoid in the loss."""
    x = keras.layers.Rescaling(1 / 255, name="scale")(crops)
    for i, width in enumerate((32, 64, 128)):
        x = keras.layers.Conv2D(width, 3, activation="relu", name=f"conv{i}")(x)
        x = _normalisation(fused)(name=f"norm{i}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{i}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(256, activation="relu", name="dense")(x)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    x = keras.layers.Dense(1, dtype="float32", name="decision")(x)
    x = keras.layers.Reshape((1, 1, 1), dtype="float32", name=MAP_LAYER)(x)
    return keras.layers.Reshape((1,), dtype="float32", name=KINDS_LAYER)(x)


def _normalisation(fused: bool) -> Any:
    return FusedBatchNormalization if fused else keras.layers.BatchNormalization


def _residual() -> NDArray[np.float32]:
    """Kernel (4, 4, 3, 12): each of the four inner pixels, per colour, minus the mean of the eight around it."""
    kernel = np.zeros((4, 4, 3, 12), np.float32)
    for i, (row, column) in enumerate(((1, 1), (1, 2), (2, 1), (2, 2))):
        for colour in range(3):
            kernel[row - 1 : row + 2, column - 1 : column + 2, colour, 3 * i + colour] = -1
            kernel[row, column, colour, 3 * i + colour] = 8
    # Exact in bfloat16, so that an even picture leaves nothing; 16 grey levels become about 1.
    return kernel / np.float32(128)


class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Batch normalisation through TensorFlow's fused kernel; any other backend fuses by itself.

    Keras 3 composes the same arithmetic from single operations, each a pass over memory: 75 against 301 images per
    second for this network in bfloat16 on two cores.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise `inputs` (n, height, width, channels) over all but the last axis."""
        if keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        learning = bool(training) and self.trainable
        moving = {} if learning else {"mean": _float32(self.moving_mean), "variance": _float32(self.moving_variance)}
        out, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, _float32(self.gamma), _float32(self.beta), epsilon=self.epsilon, is_training=learning, **moving
        )
        if learning:
            keep = self.momentum
            self.moving_mean.assign(_float32(self.moving_mean) * keep + mean * (1 - keep))
            self.moving_variance.assign(_float32(self.moving_variance) * keep + variance * (1 - keep))
        return out


def _float32(variable: Any) -> Any:
    # Past the autocast of mixed precision: the kernel wants its statistics in float32.
    return variable._value
