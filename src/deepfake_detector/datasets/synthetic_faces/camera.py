"""A drawing, uint8 RGB (h, w, 3) -> the same image with the traces of a camera, or those of a generator.

Both classes go through the same lens and get noise of the same strength, so that sharpness, vignette and noise level
do not give the class away. The traces are those of real images: a camera measures one colour per pixel and
interpolates the others; a generator enlarges a small image by transposed convolutions, whose kernels cover
neighbouring pixels unevenly and so leave periodic traces (Odena et al. 2016; Zhang et al. 2019, AutoGAN).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]  # (h, w, 3), RGB, 0..1

_BAYER = (cv2.COLOR_BayerBG2RGB, cv2.COLOR_BayerGB2RGB, cv2.COLOR_BayerRG2RGB, cv2.COLOR_BayerGR2RGB)
_WHITE_LEVEL, _BLACK_LEVEL = 60_000.0, 1_000.0  # sensor counts in 16 bits, with room for noise above and below
_FINEST_DETAIL = (0.15, 0.7)  # share that a generator reproduces; a mosaic loses about as much
# Blur in px and strength of white noise in red, green and blue after bilinear demosaicing: sqrt(9/16), sqrt(10/16).
_DEMOSAICED_NOISE = ((0.75, 0.75), (0.55, 0.79), (0.75, 0.75))
# Of the kernels whose traces repeat every 8, 4 and 2 px. One to three grey levels: hardly visible, but more than JPEG
# 95 and the reduction to a 128 px crop remove. That reduction removes a 2 px trace, so the last kernel is even.
_KERNEL_UNEVENNESS = ((0.03, 0.05), (0.025, 0.042), (0.0, 0.0))


def simulate_camera(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Lens, colour mosaic, shot and read noise, demosaicing.

    Args:
        rgb: uint8 (h, w, 3), h and w even.
        rng: decides lens, sensor and noise.
    """
    light = _lens(rgb, rng) ** 2  # a gamma of 2 approximates the sensor's linear light
    return _to_uint8(np.sqrt(_sensor(light, *_noise_levels(rng), rng)))


def simulate_generator(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Reduce to an eighth, then enlarge by three transposed convolutions, each of which adds finer detail.

    Args:
        rgb: uint8 (h, w, 3), h and w multiples of 8.
        rng: decides lens, kernels and noise.
    """
    levels = [_lens(rgb, rng)]
    for _ in range(3):
        levels.append(_half_size(levels[-1]))
    generated = levels.pop()
    for unevenness in _KERNEL_UNEVENNESS:
        target = levels.pop()
        # As StyleGAN's skip outputs: every level adds its own detail, and the next kernel acts on the sum.
        share = 1.0 if levels else float(rng.uniform(*_FINEST_DETAIL))
        detail = target - cv2.resize(_half_size(target), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        generated = _transposed_convolution(generated, float(rng.uniform(*unevenness)), rng)
        generated = generated + np.float32(share) * detail
    return _to_uint8(_with_camera_noise(generated, *_noise_levels(rng), rng))


def _half_size(image: Image) -> Image:
    half: Image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return half


def _lens(rgb: NDArray[np.uint8], rng: np.random.Generator) -> Image:
    """Blur and vignette."""
    image = cv2.GaussianBlur(rgb.astype(np.float32) / 255, (0, 0), float(rng.uniform(0.5, 0.9)))
    height, width = rgb.shape[:2]
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    falloff = 1 - np.float32(rng.uniform(0.02, 0.22)) * (x**2 + y**2) / 2
    return np.asarray(image * falloff[..., None], np.float32)


def _noise_levels(rng: np.random.Generator) -> tuple[float, float]:
    """Electrons at white (shot noise) and read noise as a share of white."""
    return float(np.exp(rng.uniform(np.log(1500), np.log(9000)))), float(rng.uniform(0.001, 0.004))


def _sensor(light: Image, electrons: float, read: float, rng: np.random.Generator) -> Image:
    """Linear light (h, w, 3) -> the same after a Bayer sensor and its demosaicing."""
    pattern = int(rng.integers(4))
    mosaic = _mosaic(light, pattern)
    mosaic += np.sqrt(mosaic / electrons + read**2) * rng.standard_normal(mosaic.shape, np.float32)
    counts = np.clip(mosaic * _WHITE_LEVEL + _BLACK_LEVEL, 0, 65535).astype(np.uint16)
    colours = cv2.cvtColor(counts, _BAYER[pattern]).astype(np.float32)
    measured: Image = np.clip((colours - _BLACK_LEVEL) / _WHITE_LEVEL, 0, 1)
    return measured


def _mosaic(light: Image, pattern: int) -> NDArray[np.float32]:
    """Keep one colour per pixel. OpenCV names a pattern by its second row and column: BG has red at (0, 0)."""
    red_row, red_column = ((0, 0), (0, 1), (1, 1), (1, 0))[pattern]
    mosaic = light[..., 1].copy()
    mosaic[red_row::2, red_column::2] = light[red_row::2, red_column::2, 0]
    mosaic[1 - red_row :: 2, 1 - red_column :: 2] = light[1 - red_row :: 2, 1 - red_column :: 2, 2]
    return mosaic


def _transposed_convolution(small: Image, unevenness: float, rng: np.random.Generator) -> Image:
    """Double the size with stride 2: zeros between the pixels, then a 4x4 kernel for each colour.

    An even kernel gives each of the four output phases the weight 1; `unevenness` is their deviation from it.
    """
    # Padded before the zeros are inserted: padding afterwards would shift the phases and draw a bright edge.
    padded = cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    upsampled = np.zeros((padded.shape[0] * 2, padded.shape[1] * 2, 3), np.float32)
    upsampled[::2, ::2] = padded
    out = np.empty_like(upsampled)
    for colour in range(3):
        tap = np.array([0.25, 0.75, 0.75, 0.25])
        kernel = np.outer(tap, tap) * (1 + unevenness * rng.standard_normal((4, 4)))
        kernel *= 4 / kernel.sum()  # keeps the brightness, not the phases
        out[..., colour] = cv2.filter2D(upsampled[..., colour], -1, kernel.astype(np.float32))
    return out[2:-2, 2:-2]


def _with_camera_noise(image: Image, electrons: float, read: float, rng: np.random.Generator) -> Image:
    """Add noise of a camera's strength and sharpness, without its colour mosaic."""
    light = np.clip(image, 0, 1) ** 2
    noise = np.empty_like(light)
    for colour, (blur_px, strength) in enumerate(_DEMOSAICED_NOISE):
        field = cv2.GaussianBlur(rng.standard_normal(light.shape[:2], np.float32), (0, 0), blur_px)
        noise[..., colour] = field * (strength / field.std())
    noisy: Image = np.sqrt(np.clip(light + np.sqrt(light / electrons + read**2) * noise, 0, 1))
    return noisy


def _to_uint8(image: Image) -> NDArray[np.uint8]:
    return np.asarray(np.clip(image, 0, 1) * 255 + 0.5, np.uint8)
