"""RGB uint8 (height, width, 3) -> the same picture as traffic leaves it: recompressed, resized, blurred, noisy."""

from __future__ import annotations

import io
import math
from fractions import Fraction
from functools import cache
from typing import Literal

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Encoder = Literal["opencv", "pillow"]  # JPEG: other quantization tables; WebP: another search for the best prediction
Pixels = NDArray[np.uint8]

INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
_CHROMA = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}

# Both libraries are libjpeg with its standard tables and give the same pixels, so Pillow is lent the tables of mozjpeg
# (N. Robidoux), with which large websites save: fine for coarse structure, coarse for fine structure and for colour.
_MOZJPEG = (
    (16, 16, 16, 18, 25, 37, 56, 85),
    (16, 17, 20, 27, 34, 40, 53, 75),
    (16, 20, 24, 31, 43, 62, 91, 135),
    (18, 27, 31, 40, 53, 74, 106, 156),
    (25, 34, 43, 53, 69, 94, 131, 189),
    (37, 40, 62, 74, 94, 124, 169, 238),
    (56, 53, 91, 106, 131, 169, 226, 311),
    (85, 75, 135, 156, 189, 238, 311, 418),
)


def jpeg(rgb: Pixels, quality: int, encoder: Encoder = "opencv", subsampling: str = "4:2:0") -> Pixels:
    """Save as JPEG and open again.

    Args:
        rgb: (height, width, 3).
        quality: 1 to 95.
        encoder: `opencv` quantizes by libjpeg's standard tables, `pillow` by those of mozjpeg.
        subsampling: of the colour, one of `SUBSAMPLINGS`.
    """
    if encoder == "pillow":
        saved = io.BytesIO()
        Image.fromarray(rgb).save(saved, "JPEG", qtables=_tables(quality), subsampling=subsampling)
        return _opened(np.frombuffer(saved.getbuffer(), np.uint8))
    how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _CHROMA[subsampling]]
    return _through_opencv(rgb, ".jpg", how)


def webp(rgb: Pixels, quality: int, encoder: Encoder = "opencv") -> Pixels:
    """Save as lossy WebP (a still of VP8: block prediction and deblocking, as in video) and open again."""
    if encoder == "pillow":
        saved = io.BytesIO()
        Image.fromarray(rgb).save(saved, "WEBP", quality=quality, method=0)
        return _opened(np.frombuffer(saved.getbuffer(), np.uint8))
    return _through_opencv(rgb, ".webp", [cv2.IMWRITE_WEBP_QUALITY, quality])


def h264(rgb: Pixels, crf: int) -> Pixels:
    """Save as the only frame of an H.264 video and open again; both sides lose an odd pixel, which is put back.

    Args:
        rgb: (height, width, 3).
        crf: constant rate factor, 0 (lossless) to 51.
    """
    height_px, width_px = rgb.shape[:2]
    even = np.ascontiguousarray(rgb[: height_px // 2 * 2, : width_px // 2 * 2])
    writer = av.CodecContext.create("libx264", "w")
    writer.width, writer.height, writer.pix_fmt = even.shape[1], even.shape[0], "yuv420p"
    writer.framerate = Fraction(25)
    writer.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
    frame = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(format="yuv420p")
    packets = [*writer.encode(frame), *writer.encode(None)]
    reader = av.CodecContext.create("h264", "r")
    frames = [found for packet in [*packets, None] for found in reader.decode(packet)]
    decoded = frames[0].to_ndarray(format="rgb24")
    grown = [(0, height_px - decoded.shape[0]), (0, width_px - decoded.shape[1]), (0, 0)]
    return np.pad(decoded, grown, mode="edge")


def shrink_and_enlarge(rgb: Pixels, factor: float, down: str = "area", up: str = "linear") -> Pixels:
    """Resize by `factor` (0 to 1) and back to the old size.

    Args:
        rgb: (height, width, 3).
        factor: new side over old side.
        down: a name in `INTERPOLATIONS`.
        up: a name in `INTERPOLATIONS`.
    """
    height_px, width_px = rgb.shape[:2]
    small = (max(1, round(width_px * factor)), max(1, round(height_px * factor)))
    less = cv2.resize(rgb, small, interpolation=INTERPOLATIONS[down])
    return np.asarray(cv2.resize(less, (width_px, height_px), interpolation=INTERPOLATIONS[up]), np.uint8)


def blur(rgb: Pixels, sigma_px: float) -> Pixels:
    """Gaussian blur."""
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_px), np.uint8)


def noise(rgb: Pixels, sigma: float, random: np.random.Generator) -> Pixels:
    """Gaussian noise of standard deviation `sigma` grey levels, each colour by itself."""
    grain = random.standard_normal(rgb.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(rgb + sigma * grain), 0, 255), np.uint8)


def recolour(rgb: Pixels, brightness: float, contrast: float, saturation: float, gamma: float) -> Pixels:
    """Change light and colour.

    Args:
        rgb: (height, width, 3).
        brightness: grey levels added.
        contrast: factor around middle grey; 1 changes nothing.
        saturation: factor around each pixel's grey; 1 changes nothing, 0 makes it grey.
        gamma: exponent; 1 changes nothing, above 1 darkens.
    """
    levels = np.arange(256, dtype=np.float32)
    curve = (np.clip((levels - 127.5) * contrast + 127.5 + brightness, 0, 255) / 255) ** gamma * 255
    toned = cv2.LUT(rgb, np.rint(curve).astype(np.uint8))
    if saturation == 1:
        return np.asarray(toned, np.uint8)
    grey = cv2.cvtColor(cv2.cvtColor(toned, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(toned, saturation, grey, 1 - saturation, 0), np.uint8)


def turn(
    rgb: Pixels, degrees: float, scale: float = 1.0, shift_px: tuple[float, float] = (0, 0), how: str = "linear"
) -> Pixels:
    """Rotate about the middle, scale and shift (right, down); what comes in from outside is the mirror image."""
    height_px, width_px = rgb.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width_px - 1) / 2, (height_px - 1) / 2), degrees, scale)
    matrix[:, 2] += shift_px
    return np.asarray(
        cv2.warpAffine(rgb, matrix, (width_px, height_px), flags=INTERPOLATIONS[how], borderMode=cv2.BORDER_REFLECT),
        np.uint8,
    )


def move(rgb: Pixels, right_px: int, down_px: int) -> Pixels:
    """Shift by whole pixels, so that nothing is interpolated; what comes in is the mirror image without its edge."""
    height_px, width_px = rgb.shape[:2]
    across, along = abs(right_px), abs(down_px)
    wide = cv2.copyMakeBorder(rgb, along, along, across, across, cv2.BORDER_REFLECT_101)  # a tenth of NumPy's time
    top, left = along - down_px, across - right_px
    return np.ascontiguousarray(wide[top : top + height_px, left : left + width_px], np.uint8)


def decibels(rgb: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio of two pictures of the same shape; infinite when they are equal."""
    error = float(np.mean((rgb.astype(np.float64) - other) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


@cache
def _tables(quality: int) -> list[list[int]]:
    """Of brightness and of colour, 64 numbers each, scaled by quality as libjpeg scales its own."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = [min(max((step * percent + 50) // 100, 1), 255) for row in _MOZJPEG for step in row]
    return [steps, steps]


def _through_opencv(rgb: Pixels, extension: str, how: list[int]) -> Pixels:
    # OpenCV takes blue first; saving a picture with its colours swapped would quantize the wrong channels.
    _, saved = cv2.imencode(extension, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), how)
    return _opened(saved)


def _opened(saved: NDArray[np.uint8]) -> Pixels:
    return np.asarray(cv2.cvtColor(cv2.imdecode(saved, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)
