"""A drawing, uint8 RGB (h, w, 3) -> the same picture as a camera takes it, or as a generator would paint it.

Both kinds go through the same lens and carry noise of the same strength, so that neither sharpness, vignette nor
noise level gives the class away. What differs is what differs in the world: a camera measures one colour per pixel
and interpolates the others; a generator builds the picture up from a small one by transposed convolutions, whose
kernels cover neighbouring pixels unevenly and so leave periodic traces (Odena et al. 2016; Zhang et al. 2019, AutoGAN).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]  # (h, w, 3), RGB, 0..1

_BAYER = (cv2.COLOR_BayerBG2RGB, cv2.COLOR_BayerGB2RGB, cv2.COLOR_BayerRG2RGB, cv2.COLOR_BayerGR2RGB)
_FULL_WELL = 60_000.0  # sensor counts at white, in 16 bits: room for noise above
_BLACK = 1_000.0  # and below
_FINEST_DETAIL = (0.15, 0.7)  # what a generator gets right of the finest detail; a mosaic loses about as much
# Softness and strength that bilinear demosaicing gives white noise in red, green and blue: sqrt(9/16), sqrt(10/16).
_GRAIN = ((0.75, 0.75), (0.55, 0.79), (0.75, 0.75))
# Unevenness of the kernels whose traces repeat every 8, 4 and 2 px. One to three grey levels: hardly seen, but more
# than JPEG 95 and the shrinking to a 128 px crop remove. That shrinking takes away a 2 px trace: the last has none.
_UNEVEN = ((0.03, 0.05), (0.025, 0.042), (0.0, 0.0))


def through_camera(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Lens, colour mosaic, shot and read noise, demosaicing.

    Args:
        rgb: uint8 (h, w, 3), h and w even.
        rng: decides lens, sensor and noise.
    """
    light = _lens(rgb, rng) ** 2  # a gamma of 2 stands for the sensor's linear light
    return _rounded(np.sqrt(_sensor(light, *_noise_levels(rng), rng)))


def through_generator(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Squeeze to an eighth, then build up through three transposed convolutions, each adding its finer detail.

    Args:
        rgb: uint8 (h, w, 3), h and w multiples of 8.
        rng: decides lens, kernels and noise.
    """
    levels = [_lens(rgb, rng)]
    for _ in range(3):
        levels.append(_halved(levels[-1]))
    painted = levels.pop()
    for uneven in _UNEVEN:
        wanted = levels.pop()
        # As StyleGAN's skip outputs: every level adds its own detail, and the next kernel treads on the sum.
        share = 1.0 if levels else float(rng.uniform(*_FINEST_DETAIL))
        detail = wanted - cv2.resize(_halved(wanted), None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        painted = _doubled(painted, float(rng.uniform(*uneven)), rng) + np.float32(share) * detail
    return _rounded(_grainy(painted, *_noise_levels(rng), rng))


def _halved(picture: Picture) -> Picture:
    half: Picture = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return half


def _lens(rgb: NDArray[np.uint8], rng: np.random.Generator) -> Picture:
    """Blur and vignette."""
    picture = cv2.GaussianBlur(rgb.astype(np.float32) / 255, (0, 0), float(rng.uniform(0.5, 0.9)))
    height, width = rgb.shape[:2]
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    falloff = 1 - np.float32(rng.uniform(0.02, 0.22)) * (x**2 + y**2) / 2
    return np.asarray(picture * falloff[..., None], np.float32)


def _noise_levels(rng: np.random.Generator) -> tuple[float, float]:
    """Electrons at white (shot noise) and read noise as a share of white."""
    return float(np.exp(rng.uniform(np.log(1500), np.log(9000)))), float(rng.uniform(0.001, 0.004))


def _sensor(light: Picture, electrons: float, read: float, rng: np.random.Generator) -> Picture:
    """Linear light (h, w, 3) -> what a Bayer sensor and its demosaicing make of it."""
    pattern = int(rng.integers(4))
    mosaic = _mosaic(light, pattern)
    mosaic += np.sqrt(mosaic / electrons + read**2) * rng.standard_normal(mosaic.shape, np.float32)
    counts = np.clip(mosaic * _FULL_WELL + _BLACK, 0, 65535).astype(np.uint16)
    colours = cv2.cvtColor(counts, _BAYER[pattern]).astype(np.float32)
    measured: Picture = np.clip((colours - _BLACK) / _FULL_WELL, 0, 1)
    return measured


def _mosaic(light: Picture, pattern: int) -> NDArray[np.float32]:
    """Keep one colour per pixel. OpenCV names a pattern by its second row and column: BG has red at (0, 0)."""
    red_row, red_column = ((0, 0), (0, 1), (1, 1), (1, 0))[pattern]
    mosaic = light[..., 1].copy()
    mosaic[red_row::2, red_column::2] = light[red_row::2, red_column::2, 0]
    mosaic[1 - red_row :: 2, 1 - red_column :: 2] = light[1 - red_row :: 2, 1 - red_column :: 2, 2]
    return mosaic


def _doubled(small: Picture, uneven: float, rng: np.random.Generator) -> Picture:
    """Transposed convolution with stride 2: zeros between the pixels, then a 4x4 kernel for each colour.

    An even kernel gives each of the four output phases the weight 1; `uneven` is how far they stray from it.
    """
    # Padded before the zeros go in: reflecting the stuffed picture would shift its phases and draw a bright edge.
    padded = cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    stuffed = np.zeros((padded.shape[0] * 2, padded.shape[1] * 2, 3), np.float32)
    stuffed[::2, ::2] = padded
    out = np.empty_like(stuffed)
    for colour in range(3):
        tap = np.array([0.25, 0.75, 0.75, 0.25])
        kernel = np.outer(tap, tap) * (1 + uneven * rng.standard_normal((4, 4)))
        kernel *= 4 / kernel.sum()  # brightness stays, phases do not
        out[..., colour] = cv2.filter2D(stuffed[..., colour], -1, kernel.astype(np.float32))
    return out[2:-2, 2:-2]


def _grainy(picture: Picture, electrons: float, read: float, rng: np.random.Generator) -> Picture:
    """Noise of a camera's strength and softness, without its colour mosaic."""
    light = np.clip(picture, 0, 1) ** 2
    grain = np.empty_like(light)
    for colour, (softness_px, strength) in enumerate(_GRAIN):
        field = cv2.GaussianBlur(rng.standard_normal(light.shape[:2], np.float32), (0, 0), softness_px)
        grain[..., colour] = field * (strength / field.std())
    noisy: Picture = np.sqrt(np.clip(light + np.sqrt(light / electrons + read**2) * grain, 0, 1))
    return noisy


def _rounded(picture: Picture) -> NDArray[np.uint8]:
    return np.asarray(np.clip(picture, 0, 1) * 255 + 0.5, np.uint8)
