"""Settings -> Keras CNN: uint8 or float RGB crops (n, side, side, 3) -> logits (n,); above 0 means fake.

A crop is real or one of k kinds of fake (generated, swapped). The network gives each kind a logit against real. The
probability of being fake is the sum of the kinds' softmax probabilities; its logit is `logsumexp` over the kinds. With
k = 1 this is the usual sigmoid.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import SettingsError
from deepfake_detector.model.backbone import block_index, feature_maps
from deepfake_detector.model.branches import BranchScales
from deepfake_detector.model.normalization import normalisation_layer

MAP_LAYER = "kinds_map"  # (n, h, w, k): logits of the kinds in each cell of the crop
KINDS_LAYER = "kinds"  # (n, k): their mean over the cells
HIGH_PASS_LAYER = "residual"  # (n, h/2, w/2, 12): the four pixels of a 2x2 block, three colours each
RESIDUAL_MAP, BACKBONE_MAP = "residual_kinds_map", "backbone_kinds_map"  # of the branches of `fused`
SCALES_LAYER = "branch_scales"  # of `fused` in training; `portable_copy` folds it into the classifiers
CLASSIFIERS = (MAP_LAYER, RESIDUAL_MAP, BACKBONE_MAP, "decision")  # the last layers with weights, whichever there are
WITH_RESIDUAL, WITH_BACKBONE = ("residual", "fused"), ("efficientnet_lite0", "fused")
# The 1,280 channels behind it (0.41 M weights) transfer worst (docs/generalization.md, "Linear classifier").
LAST_STAGE = "stage6"
BACKBONE_CELL_PX = 32
# Per resolution: side/2, side/4, side/8, side/16. At the last one the receptive field covers the whole face: validation
# AUC after ten epochs 0.929, without it 0.913.
CHANNELS = ((48, 48), (96, 96), (128, 128), (160, 160))


def build_network(name: str, side_px: int, dropout: float, fused: bool = False, kinds: int = 1) -> keras.Model:
    """Build an untrained network; the backbone's weights are random, too (`backbone.load_imagenet_weights`).

    Args:
        name: `residual` (ours, 0.8 M parameters), `plain` (the same trunk behind a learned front end on RGB, for
            comparison), `efficientnet_lite0` (the backbone up to `LAST_STAGE`, 3.0 M), `fused` (`residual` and
            `efficientnet_lite0` on the same crop, whose logits are averaged) or `original` (the CNN of the original
            README, 6.5 M at 128 px).
        side_px: side of the crops.
        dropout: share of features dropped before the classifier; `original` keeps its own 0.5.
        fused: normalise with TensorFlow's fused kernel, 4 times faster in training. The weights are the same either
            way: `portable_copy` moves them to a network with `fused=False`, which loads wherever Keras does.
        kinds: number of kinds of fakes; `original` separates only real from fake and ignores it.

    Returns:
        A model from crops (n, side, side, 3), dtype uint8, to float32 logits (n,).

    Raises:
        SettingsError: the network has a backbone, and the side is no multiple of 32.
    """
    if name in WITH_BACKBONE and side_px % BACKBONE_CELL_PX:
        raise SettingsError(
            f"train.network {name} needs crops whose side is a multiple of {BACKBONE_CELL_PX} px, not {side_px} px",
            f"set prepare.side_px to {max(1, round(side_px / BACKBONE_CELL_PX)) * BACKBONE_CELL_PX}",
        )
    crops = keras.Input((side_px, side_px, 3), dtype="uint8", name="crops")
    kind_logits = _original(crops, fused) if name == "original" else _kind_logits(crops, name, dropout, fused, kinds)
    logits = keras.layers.Identity(dtype="float32", name="logits")(keras.ops.logsumexp(kind_logits, axis=-1))
    model = keras.Model(crops, logits, name=name)
    if name in WITH_RESIDUAL:
        model.get_layer(HIGH_PASS_LAYER).set_weights([_high_pass_kernel()])
    return model


def per_cell(model: keras.Model) -> keras.Model:
    """The same network with the logit map as output: crops (n, side, side, 3) -> (n, h, w, k).

    Training fits this model; the mean over the cells is the logit of the face. The output of `fused` in training is
    (n, h, w, 2, k), the maps of both branches, so that each learns from a loss of its own and does not rely on the
    other.
    """
    scales = {layer.name: layer for layer in model.layers}.get(SCALES_LAYER)
    cells = model.get_layer(MAP_LAYER).output if scales is None else keras.ops.stack(scales.output, axis=3)
    return keras.Model(model.input, cells, name=model.name)


def freeze_branch(model: keras.Model, branch: str) -> None:
    """Keep one branch of `fused` as it is in training, its normalisation included.

    Args:
        model: a network that `build_network` made.
        branch: `residual` or `backbone`; "": none.

    Raises:
        SettingsError: the network has no branches.
    """
    if branch and model.name != "fused":
        raise SettingsError(
            f"train.frozen_branch is {branch}, and train.network {model.name} has no branches",
            "set train.frozen_branch to '', or train.network to fused",
        )
    for layer in model.layers:
        in_backbone = block_index(layer.name) is not None or layer.name == BACKBONE_MAP
        if branch and layer.weights and layer.name != SCALES_LAYER and in_backbone == (branch == "backbone"):
            layer.trainable = False


def classifier_layers(model: keras.Model) -> list[Any]:
    """The layers that give the logit of each kind in each cell, one per branch; each has a kernel and a bias."""
    return [layer for layer in model.layers if layer.name in CLASSIFIERS and layer.weights]


def cell_px() -> int:
    """Side of the square of a crop that one cell of the logit map stands for, in all networks but `original`."""
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
    with dtype_policy("float32"):
        copy = build_network(model.name, side_px, dropout=0.0, kinds=model.get_layer(KINDS_LAYER).output.shape[-1])
    layers = {layer.name: layer for layer in model.layers}
    for layer in copy.layers:
        if layer.weights:
            layer.set_weights(layers[layer.name].get_weights())
    if SCALES_LAYER in layers:
        for name, factor in zip((RESIDUAL_MAP, BACKBONE_MAP), layers[SCALES_LAYER].factors(), strict=True):
            copy.get_layer(name).set_weights([array * factor for array in copy.get_layer(name).get_weights()])
    return copy


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Layers built inside have this precision unless they name their own."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def _kind_logits(crops: Any, name: str, dropout: float, fused: bool, kinds: int) -> Any:
    """The branches of a network and the mean of their maps: crops -> kind logits (n, k)."""
    if name == "fused":
        maps = [_trunk(_front_end(crops, "residual"), dropout, fused, kinds, RESIDUAL_MAP)]
        maps.append(_enlarge(_backbone(crops, dropout, fused, kinds), maps[0].shape[1], "backbone_cells"))
        maps = BranchScales(dtype="float32", name=SCALES_LAYER)(maps) if fused else maps
        cells = keras.layers.Average(dtype="float32", name=MAP_LAYER)(maps)
    elif name == "efficientnet_lite0":
        cells = _enlarge(_backbone(crops, dropout, fused, kinds), crops.shape[1] // cell_px(), MAP_LAYER)
    else:
        cells = _trunk(_front_end(crops, name), dropout, fused, kinds, MAP_LAYER)
    return keras.layers.GlobalAveragePooling2D(dtype="float32", name=KINDS_LAYER)(cells)


def _backbone(crops: Any, dropout: float, fused: bool, kinds: int) -> Any:
    """EfficientNet-Lite0 and a 1x1 classifier: crops -> kind logits of cells of 32 px.

    In float32 whatever the precision of the training: on two cores with AVX512-bf16, bfloat16 trained 43 crops/s and
    float32 55, because depthwise convolutions have no bfloat16 kernel.
    """
    with dtype_policy("float32"):
        x = feature_maps(crops, fused, LAST_STAGE)[LAST_STAGE]
        # Whole channels: dropping single cells of a map whose mean is taken would only add noise.
        x = keras.layers.SpatialDropout2D(dropout, name="backbone_dropout")(x)
        return keras.layers.Conv2D(kinds, 1, name=BACKBONE_MAP)(x)


def _enlarge(cells: Any, side: int, name: str) -> Any:
    """Repeat each cell, so that the map has `side` cells along each side and the same mean."""
    return keras.layers.UpSampling2D(side // cells.shape[1], dtype="float32", name=name)(cells)


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


def _trunk(x: Any, dropout: float, fused: bool, kinds: int, name: str) -> Any:
    """Convolutional trunk and 1x1 classifier: features -> kind logits per cell (n, h, w, k)."""
    for level, channels in enumerate(CHANNELS):
        if level:
            x = keras.layers.AveragePooling2D(2, name=f"pool{level}")(x)
        for i, width in enumerate(channels):
            x = _conv_block(x, width, f"conv{level}_{i}", fused)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.layers.Conv2D(kinds, 1, dtype="float32", name=name)(x)


def _conv_block(x: Any, width: int, name: str, fused: bool) -> Any:
    # Full 3x3 convolutions: depthwise ones need 8.5 times fewer operations but are only twice as fast on a CPU.
    x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=name)(x)
    # Momentum 0.99 lags behind in trainings of a few hundred steps.
    x = normalisation_layer(fused)(momentum=0.9, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _original(crops: Any, fused: bool) -> Any:
    """The original README's layers: Conv2D, MaxPooling, BatchNorm, Dropout; ReLU; the sigmoid is in the loss."""
    x = keras.layers.Rescaling(1 / 255, name="scale")(crops)
    for i, width in enumerate((32, 64, 128)):
        x = keras.layers.Conv2D(width, 3, activation="relu", name=f"conv{i}")(x)
        x = normalisation_layer(fused)(name=f"norm{i}")(x)
        x = keras.layers.MaxPooling2D(name=f"pool{i}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(256, activation="relu", name="dense")(x)
    x = keras.layers.Dropout(0.5, name="dropout")(x)
    x = keras.layers.Dense(1, dtype="float32", name="decision")(x)
    x = keras.layers.Reshape((1, 1, 1), dtype="float32", name=MAP_LAYER)(x)
    return keras.layers.Reshape((1,), dtype="float32", name=KINDS_LAYER)(x)


def _high_pass_kernel() -> NDArray[np.float32]:
    """Kernel (4, 4, 3, 12): each of the four inner pixels, per colour, minus the mean of the eight around it."""
    kernel = np.zeros((4, 4, 3, 12), np.float32)
    for i, (row, column) in enumerate(((1, 1), (1, 2), (2, 1), (2, 2))):
        for colour in range(3):
            kernel[row - 1 : row + 2, column - 1 : column + 2, colour, 3 * i + colour] = -1
            kernel[row, column, colour, 3 * i + colour] = 8
    # A power of two: exact in bfloat16, so that a uniform picture gives zero; 16 grey levels become about 1.
    return kernel / np.float32(128)
