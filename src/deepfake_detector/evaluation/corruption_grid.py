"""Name of a condition -> the corruption that it applies to a whole picture, uint8 RGB (height, width, 3)."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.media import corruptions

Pixels = NDArray[np.uint8]
Corruption = Callable[[Pixels, np.random.Generator], Pixels]
SECOND_GRID_PX = 4  # half a JPEG block: the worst offset of a second block grid
SHARPEN_RADIUS_PX = 2.0  # Pillow's default


@dataclass(frozen=True)
class Condition:
    """One way in which a picture is corrupted or cropped before it is scored.

    Attributes:
        family: conditions that differ in `level` alone.
        margin: factor on the side of the crop.
    """

    name: str
    family: str
    level: float
    corrupt: Corruption
    margin: float = 1.0

    def __call__(self, rgb: Pixels, path: str, seed: int) -> Pixels:
        """Corrupt a picture; random parts depend on the seed, the condition and the picture's path alone."""
        return self.corrupt(rgb, np.random.default_rng([seed, zlib.crc32(f"{self.name} {path}".encode())]))


def _jpeg(quality: int) -> Corruption:
    return lambda rgb, _: corruptions.jpeg(rgb, quality)


def _webp(quality: int) -> Corruption:
    return lambda rgb, _: corruptions.webp(rgb, quality)


def _resize(factor: float) -> Corruption:
    return lambda rgb, _: corruptions.downscale(rgb, factor)


def _blur(sigma_px: float) -> Corruption:
    return lambda rgb, _: corruptions.blur(rgb, sigma_px)


def _noise(sigma: float) -> Corruption:
    return lambda rgb, rng: corruptions.noise(rgb, sigma, rng)


def _h264(crf: int) -> Corruption:
    return lambda rgb, _: corruptions.h264(rgb, crf)


def _sharpen(percent: float) -> Corruption:
    return lambda rgb, _: corruptions.sharpen(rgb, SHARPEN_RADIUS_PX, percent)


def _dither(rgb: Pixels, _: np.random.Generator) -> Pixels:
    return corruptions.dither(rgb, "diffusion")


def _identity(rgb: Pixels, _: np.random.Generator) -> Pixels:
    return rgb


def _double_jpeg(rgb: Pixels, _: np.random.Generator) -> Pixels:
    """JPEG 75, cropped by half a block at the top and the left, then JPEG 90."""
    return corruptions.jpeg(corruptions.jpeg(rgb, 75)[SECOND_GRID_PX:, SECOND_GRID_PX:], 90)


CLEAN = Condition("clean", "clean", 0, _identity)
GRID = (
    CLEAN,
    *(Condition(f"JPEG {q}", "JPEG quality", q, _jpeg(q)) for q in (95, 85, 75, 60, 50, 40, 30)),
    *(Condition(f"WebP {q}", "WebP quality", q, _webp(q)) for q in (80, 50)),
    *(Condition(f"resize {f:g}", "downscaling factor", f, _resize(f)) for f in (0.75, 0.5, 0.25)),
    *(Condition(f"blur {s:g}", "blur, sigma in px", s, _blur(s)) for s in (0.5, 1, 2)),
    *(Condition(f"noise {s}", "noise, sigma in grey levels", s, _noise(s)) for s in (2, 5, 10)),
    Condition("JPEG 75 then 90", "double JPEG", 75, _double_jpeg),
    *(Condition(f"margin {m:g}", "crop margin", m, _identity, m) for m in (0.9, 1.1)),
    *(Condition(f"H.264 crf {c}", "H.264 crf", c, _h264(c)) for c in (18, 28, 40)),
    Condition("sharpen 200 %", "unsharp mask, percent", 200, _sharpen(200)),
    Condition("dither 1 bit", "dithering", 1, _dither),
)
RECOMPRESSED = Condition("JPEG 90", "probe", 90, _jpeg(90))  # for the recompression probe; not part of the grid
CONDITIONS = {condition.name: condition for condition in (*GRID, RECOMPRESSED)}
