"""The autoencoder's shapes, layers and order are those of TAEF2; random weights of four channels stand for its own."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import ToolFailed
from deepfake_detector.model.autoencoder import TinyAutoencoder

WIDTH, LATENTS = 4, 3
Tensors = dict[str, NDArray[np.float32]]


def tensors(layers: dict[str, tuple[int, int, int]], pooled: set[str], rng: np.random.Generator) -> Tensors:
    """Random convolutions by name (in, out, side), blocks, and blocks with a pooled part."""
    found: Tensors = {}

    def add(name: str, inside: int, outside: int, side: int, bias: bool = True) -> None:
        scale = 1 / np.sqrt(inside * side * side)
        found[f"{name}.weight"] = rng.normal(0, scale, (outside, inside, side, side)).astype(np.float32)
        if bias:
            found[f"{name}.bias"] = rng.normal(0, 0.1, outside).astype(np.float32)

    for name, (inside, outside, side) in layers.items():
        if side:
            add(name, inside, outside, side)
            continue
        for part in (0, 2, 4):
            add(f"{name}.conv.{part}", WIDTH, WIDTH, 3)
        if name in pooled:
            add(f"{name}.pool.0", WIDTH, 4 * WIDTH, 1, bias=False)
            add(f"{name}.pool.3", 4 * WIDTH, WIDTH, 1, bias=False)
            found[f"{name}.pool.1.weight"] = rng.uniform(0.5, 1.5, 4 * WIDTH).astype(np.float32)
            found[f"{name}.pool.1.bias"] = rng.normal(0, 0.1, 4 * WIDTH).astype(np.float32)
    return found


def random_weights(seed: int = 0) -> tuple[Tensors, Tensors]:
    """Encoder and decoder."""
    rng, block = np.random.default_rng(seed), (0, 0, 0)
    encoder = {"0": (3, WIDTH, 3), "1": block, "14": (WIDTH, LATENTS, 3)}
    encoder |= {str(n): (WIDTH, WIDTH, 3) for n in (2, 6, 10)}
    encoder |= {str(n): block for n in (3, 4, 5, 7, 8, 9, 11, 12, 13)}
    decoder = {"1": (LATENTS, WIDTH, 3), "18": block, "19": (WIDTH, 3, 3)}
    decoder |= {str(n): (WIDTH, WIDTH, 3) for n in (7, 12, 17)}
    decoder |= {str(n): block for n in (3, 4, 5, 8, 9, 10, 13, 14, 15)}
    return tensors(encoder, {"11", "12", "13"}, rng), tensors(decoder, {"3", "4", "5"}, rng)


@pytest.fixture(scope="module")
def autoencoder() -> TinyAutoencoder:
    return TinyAutoencoder(*random_weights())


@pytest.fixture(scope="module")
def rgb() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_latents_have_an_eighth_of_the_sides(autoencoder: TinyAutoencoder, rgb: NDArray[np.uint8]) -> None:
    latents = autoencoder.encode(rgb)
    assert latents.shape == (6, 8, LATENTS)
    assert latents.dtype == np.float32
    decoded = autoencoder.decode(latents)
    assert decoded.shape == (48, 64, 3)
    assert decoded.dtype == np.uint8
    assert np.array_equal(autoencoder.decode(autoencoder.encode(rgb)), decoded)
    assert not np.array_equal(autoencoder.decode(latents + np.float32(0.5)), decoded)


def test_sides_that_are_no_multiples_of_eight_are_refused(autoencoder: TinyAutoencoder, rgb: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="not multiples of 8"):
        autoencoder.encode(rgb[:, :60])


class Recorded(dict[str, NDArray[np.float32]]):
    """Records which tensors are read."""

    def __init__(self, weights: Tensors) -> None:
        super().__init__(weights)
        self.read: list[str] = []

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        self.read.append(name)
        return super().__getitem__(name)


def test_every_tensor_is_used_once(rgb: NDArray[np.uint8]) -> None:
    encoder, decoder = (Recorded(weights) for weights in random_weights())
    autoencoder = TinyAutoencoder(encoder, decoder)
    autoencoder.decode(autoencoder.encode(rgb))
    assert sorted(encoder.read) == sorted(encoder)
    assert sorted(decoder.read) == sorted(decoder)


def test_a_convolution_with_stride_pads_as_pytorch_does() -> None:
    """A kernel that copies the pixel at the centre keeps pixels 0, 2, 4, ...; TensorFlow's own padding the odd ones."""
    encoder, decoder = random_weights()
    autoencoder = TinyAutoencoder(encoder, decoder)
    kernel = np.zeros((WIDTH, WIDTH, 3, 3), np.float32)
    kernel[range(WIDTH), range(WIDTH), 1, 1] = 1
    autoencoder._encoder._weights = {"2.weight": kernel}
    x = np.random.default_rng(0).normal(size=(1, 8, 8, WIDTH)).astype(np.float32)
    assert np.array_equal(autoencoder._encoder.convolution(x, 2, stride=2), x[:, ::2, ::2])


def test_missing_tensors_and_other_files_are_refused(tmp_path: Path) -> None:
    encoder, decoder = random_weights()
    del decoder["19.weight"]
    with pytest.raises(ToolFailed, match=r"no tensor 19\.weight"):
        TinyAutoencoder(encoder, decoder).decode(np.zeros((2, 2, LATENTS), np.float32))
    (tmp_path / "encoder.pth").write_bytes(b"another")
    with pytest.raises(ToolFailed, match="has SHA-256"):
        TinyAutoencoder.read(tmp_path / "encoder.pth", tmp_path / "decoder.pth")
