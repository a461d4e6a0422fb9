"""TAEF2's two weight files -> an autoencoder: RGB uint8 (height, width, 3) <-> latents float32 (height/8, width/8, 32).

TAEF2 is a small copy of the autoencoder that FLUX.2 decodes its pictures with. A decoded picture has the traces of such
decoders, and the content of a real picture: see `media.reconstruction`. The weights are not part of this repository.
Source: madebyollin/taesd (MIT), taesd.py, `Encoder` and `Decoder` with `use_midblock_gn`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from deepfake_detector.errors import ToolFailed
from deepfake_detector.model.torch_weights import read_tensors

# taef2_encoder.pth and taef2_decoder.pth at commit 5cccb12dc72074a4be35680c3b108548a7c69978
ENCODER_SHA256 = "10a4e1021e89d7551eaf161352da8dbd0b1aa83872ae28b150c1df1ce2f147b6"
DECODER_SHA256 = "0a44a31e1ae59eb9dbf9359d24942fd3ef5928162c1800d97a28c61d51be0ab5"
SCALE = 8  # px of the picture per cell of the latents
_STEPS, _BLOCKS_PER_STEP, _GROUPS, _EPSILON = 3, 3, 4, 1e-5
_LATENT_LIMIT = 3.0

Weights = Mapping[str, NDArray[Any]]


class TinyAutoencoder:
    """Encoder and decoder on TensorFlow; deterministic on one machine.

    Args:
        encoder: tensors by PyTorch's names, convolutions as (out, in, rows, columns).
        decoder: likewise.

    Raises:
        ToolFailed: a tensor is missing.
    """

    def __init__(self, encoder: Weights, decoder: Weights) -> None:
        self._encoder, self._decoder = _Layers(encoder), _Layers(decoder)
        signature = [tf.TensorSpec([None, None, None, None], tf.float32)]
        self._encode = tf.function(self._encoded, input_signature=signature, autograph=False)
        self._decode = tf.function(self._decoded, input_signature=signature, autograph=False)

    @classmethod
    def read(cls, encoder: Path, decoder: Path) -> TinyAutoencoder:
        """Read the published files.

        Raises:
            ToolFailed: a file is missing or another one.
        """
        return cls(read_tensors(encoder, ENCODER_SHA256), read_tensors(decoder, DECODER_SHA256))

    def encode(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """A picture whose sides are multiples of 8 -> its latents (height/8, width/8, channels)."""
        if rgb.shape[0] % SCALE or rgb.shape[1] % SCALE:
            raise ValueError(f"the sides of the picture are {rgb.shape[:2]} px, not multiples of {SCALE}")
        return np.asarray(self._encode(rgb[None].astype(np.float32) / np.float32(255))[0], np.float32)

    def decode(self, latents: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Latents (rows, columns, channels) -> a picture (8 rows, 8 columns, 3)."""
        decoded = np.asarray(self._decode(latents[None].astype(np.float32))[0])
        return np.asarray(np.rint(np.clip(decoded, 0, 1) * 255), np.uint8)

    def _encoded(self, x: tf.Tensor) -> tf.Tensor:
        layers = self._encoder
        x = layers.block(layers.convolution(x, 0), 1)
        number = 2
        for _ in range(_STEPS):
            x = layers.convolution(x, number, stride=2)
            x = layers.blocks(x, number + 1)
            number += 1 + _BLOCKS_PER_STEP
        return layers.convolution(x, number)

    def _decoded(self, z: tf.Tensor) -> tf.Tensor:
        layers = self._decoder
        x = tf.nn.relu(layers.convolution(tf.tanh(z / _LATENT_LIMIT) * _LATENT_LIMIT, 1))
        number = 3  # 0 is the limit, 2 the activation
        for _ in range(_STEPS):
            x = layers.blocks(x, number)
            x = tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)
            x = layers.convolution(x, number + _BLOCKS_PER_STEP + 1)
            number += _BLOCKS_PER_STEP + 2
        return layers.convolution(layers.block(x, number), number + 1)


class _Layers:
    """Layers of one `torch.nn.Sequential`, by their numbers; channels last."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def blocks(self, x: tf.Tensor, first: int) -> tf.Tensor:
        for number in range(first, first + _BLOCKS_PER_STEP):
            x = self.block(x, number)
        return x

    def block(self, x: tf.Tensor, number: int) -> tf.Tensor:
        if f"{number}.pool.0.weight" in self._weights:
            pooled = self._group_norm(self.convolution(x, f"{number}.pool.0"), f"{number}.pool.1")
            x = x + self.convolution(tf.nn.relu(pooled), f"{number}.pool.3")
        y = tf.nn.relu(self.convolution(x, f"{number}.conv.0"))
        y = self.convolution(tf.nn.relu(self.convolution(y, f"{number}.conv.2")), f"{number}.conv.4")
        return tf.nn.relu(x + y)

    def convolution(self, x: tf.Tensor, name: object, stride: int = 1) -> tf.Tensor:
        kernel = self._tensor(f"{name}.weight").transpose(2, 3, 1, 0)
        edge = kernel.shape[0] // 2  # TensorFlow's "SAME" pads another side than PyTorch where the stride is 2
        padded = tf.pad(x, [[0, 0], [edge, edge], [edge, edge], [0, 0]])
        y = tf.nn.conv2d(padded, tf.constant(kernel), stride, "VALID")
        return y + self._tensor(f"{name}.bias") if f"{name}.bias" in self._weights else y

    def _group_norm(self, x: tf.Tensor, name: str) -> tf.Tensor:
        shape, channels = tf.shape(x), x.shape[-1]
        grouped = tf.reshape(x, [shape[0], shape[1] * shape[2], _GROUPS, channels // _GROUPS])
        mean, variance = tf.nn.moments(grouped, [1, 3], keepdims=True)
        normal = tf.reshape((grouped - mean) / tf.sqrt(variance + _EPSILON), shape)
        return normal * self._tensor(f"{name}.weight") + self._tensor(f"{name}.bias")

    def _tensor(self, name: str) -> NDArray[np.float32]:
        if name not in self._weights:
            raise ToolFailed(f"the autoencoder's weights have no tensor {name}", "use the files of TAEF2")
        return np.asarray(self._weights[name], np.float32)
