"""RGB uint8 (height, width, 3) -> the same image recompressed, resized, blurred, noisy, recoloured, dithered or moved.

A corruption is what an image meets between camera and detector: another codec, size or sharpness. Every function is
deterministic; those that draw random numbers take the generator.
"""

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
from PIL import Image, ImageFilter

Encoder = Literal["opencv", "pillow"]  # they differ: JPEG quantization tables, WebP prediction search
Dithering = Literal["ordered", "diffusion"]
Pixels = NDArray[np.uint8]

INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}
SMOOTH_INTERPOLATIONS = ("linear", "cubic", "area", "lanczos")  # the blocks of `nearest` are too easy to recognize
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
H264_SHARE, WEBP_SHARE = 0.15, 0.2  # of the recompressions; the rest is JPEG
DITHER_SHARE, SHARPEN_SHARE = 0.03, 0.03  # of the crops that are corrupted at all
MAX_FINE_DITHER_PX = 1024  # larger images are dithered at their own size only
_OPENCV_SUBSAMPLINGS = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}
# Both libraries are libjpeg with its standard tables and give the same pixels, so Pillow gets the tables of mozjpeg
# (N. Robidoux), which large websites use: fine steps for coarse structure, coarse ones for fine structure and colour.
_MOZJPEG_TABLE = (
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
    """Encode as JPEG and decode.

    Args:
        rgb: (height, width, 3).
        quality: 1 to 95.
        encoder: `opencv` uses libjpeg's standard quantization tables, `pillow` those of mozjpeg.
        subsampling: of the chroma, one of `SUBSAMPLINGS`.
    """
    if encoder == "pillow":
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, "JPEG", qtables=_mozjpeg_tables(quality), subsampling=subsampling)
        return _decode(np.frombuffer(buffer.getbuffer(), np.uint8))
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, _OPENCV_SUBSAMPLINGS[subsampling]]
    return _recompress_with_opencv(rgb, ".jpg", options)


def webp(rgb: Pixels, quality: int, encoder: Encoder = "opencv") -> Pixels:
    """Encode as lossy WebP and decode.

    WebP is a frame of VP8, with block prediction and deblocking as in video.

    Args:
        rgb: (height, width, 3).
        quality: 1 to 100.
        encoder: `pillow` searches less for the best prediction.
    """
    if encoder == "pillow":
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, "WEBP", quality=quality, method=0)
        return _decode(np.frombuffer(buffer.getbuffer(), np.uint8))
    return _recompress_with_opencv(rgb, ".webp", [cv2.IMWRITE_WEBP_QUALITY, quality])


def h264(rgb: Pixels, crf: int) -> Pixels:
    """Encode as the only frame of an H.264 video and decode.

    H.264 needs even sides: the last row or column of an odd side is dropped before and repeated after.

    Args:
        rgb: (height, width, 3).
        crf: constant rate factor, 0 (lossless) to 51.
    """
    height_px, width_px = rgb.shape[:2]
    even = np.ascontiguousarray(rgb[: height_px // 2 * 2, : width_px // 2 * 2])
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = even.shape[1], even.shape[0], "yuv420p"
    encoder.framerate = Fraction(25)
    encoder.options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
    frame = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(format="yuv420p")
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoder = av.CodecContext.create("h264", "r")
    frames = [decoded for packet in [*packets, None] for decoded in decoder.decode(packet)]
    pixels = frames[0].to_ndarray(format="rgb24")
    missing = [(0, height_px - pixels.shape[0]), (0, width_px - pixels.shape[1]), (0, 0)]
    return np.pad(pixels, missing, mode="edge")


def downscale(rgb: Pixels, factor: float, down: str = "area", up: str = "linear") -> Pixels:
    """Resize by `factor` and back to the original size.

    Args:
        rgb: (height, width, 3).
        factor: small side over original side, 0 to 1.
        down: a name in `INTERPOLATIONS`.
        up: a name in `INTERPOLATIONS`.
    """
    height_px, width_px = rgb.shape[:2]
    small_size = (max(1, round(width_px * factor)), max(1, round(height_px * factor)))
    small = cv2.resize(rgb, small_size, interpolation=INTERPOLATIONS[down])
    return np.asarray(cv2.resize(small, (width_px, height_px), interpolation=INTERPOLATIONS[up]), np.uint8)


def blur(rgb: Pixels, sigma_px: float) -> Pixels:
    """Gaussian blur."""
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma_px), np.uint8)


def noise(rgb: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Add Gaussian noise of standard deviation `sigma` grey levels, independent in each channel."""
    normal = rng.standard_normal(rgb.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(rgb + sigma * normal), 0, 255), np.uint8)


def dither(rgb: Pixels, method: Dithering) -> Pixels:
    """Reduce to black and white dots, as old printers, newspapers and 1-bit files show photographs.

    Args:
        rgb: (height, width, 3).
        method: `ordered` by Bayer's 8 x 8 matrix, or `diffusion` of the error (Floyd and Steinberg).
    """
    if method == "diffusion":
        return np.array(Image.fromarray(rgb).convert("1").convert("RGB"))
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    height_px, width_px = grey.shape
    tiled = np.tile(_bayer_matrix(3), (-(-height_px // 8), -(-width_px // 8)))[:height_px, :width_px]
    return np.repeat(np.where(grey > tiled, 255, 0).astype(np.uint8)[:, :, None], 3, axis=2)


def sharpen(rgb: Pixels, radius_px: float, percent: float) -> Pixels:
    """Unsharp mask: add the difference from the image blurred by `radius_px`, times `percent` / 100."""
    return np.array(Image.fromarray(rgb).filter(ImageFilter.UnsharpMask(radius_px, round(percent), threshold=0)))


def adjust_colour(rgb: Pixels, brightness: float, contrast: float, saturation: float, gamma: float) -> Pixels:
    """Change brightness, contrast, saturation and gamma.

    Args:
        rgb: (height, width, 3).
        brightness: grey levels added.
        contrast: factor around middle grey; 1 changes nothing.
        saturation: factor around each pixel's grey; 1 changes nothing, 0 removes all colour.
        gamma: exponent; 1 changes nothing, above 1 darkens.
    """
    levels = np.arange(256, dtype=np.float32)
    curve = (np.clip((levels - 127.5) * contrast + 127.5 + brightness, 0, 255) / 255) ** gamma * 255
    toned = cv2.LUT(rgb, np.rint(curve).astype(np.uint8))
    if saturation == 1:
        return np.asarray(toned, np.uint8)
    grey = cv2.cvtColor(cv2.cvtColor(toned, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(toned, saturation, grey, 1 - saturation, 0), np.uint8)


def affine(
    rgb: Pixels,
    degrees: float,
    scale: float = 1.0,
    shift_px: tuple[float, float] = (0, 0),
    interpolation: str = "linear",
) -> Pixels:
    """Rotate about the centre (anticlockwise), scale and shift (right, down); the border is mirrored."""
    height_px, width_px = rgb.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width_px - 1) / 2, (height_px - 1) / 2), degrees, scale)
    matrix[:, 2] += shift_px
    flags = INTERPOLATIONS[interpolation]
    warped = cv2.warpAffine(rgb, matrix, (width_px, height_px), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(warped, np.uint8)


def translate(rgb: Pixels, right_px: int, down_px: int) -> Pixels:
    """Shift by whole pixels, without interpolation; the border is mirrored, its outermost pixels not repeated."""
    height_px, width_px = rgb.shape[:2]
    pad_x, pad_y = abs(right_px), abs(down_px)
    padded = cv2.copyMakeBorder(rgb, pad_y, pad_y, pad_x, pad_x, cv2.BORDER_REFLECT_101)  # ten times as fast as np.pad
    top, left = pad_y - down_px, pad_x - right_px
    return np.ascontiguousarray(padded[top : top + height_px, left : left + width_px], np.uint8)


def psnr_db(rgb: Pixels, other: Pixels) -> float:
    """Peak signal-to-noise ratio of two images of one shape, in dB; infinite when they are equal."""
    error = float(np.mean((rgb.astype(np.float64) - other) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def random_corruption(crop: Pixels, rng: np.random.Generator) -> Pixels:
    """Resize, blur, add noise and recompress, each with its own probability, as websites and phones do.

    Three crops in ten stay as they are, so that unchanged files are learnt as well. Of the others a few are dithered or
    strongly sharpened at the end.

    Args:
        crop: uint8 (side, side, 3).
        rng: the same state gives the same crop.
    """
    if rng.random() < 0.3:
        return crop
    if rng.random() < 0.4:
        factor = rng.uniform(0.25, 1.0) ** 0.7  # mild ones are more common
        crop = downscale(crop, factor, pick(SMOOTH_INTERPOLATIONS, rng), pick(SMOOTH_INTERPOLATIONS, rng))
    if rng.random() < 0.2:
        crop = blur(crop, rng.uniform(0.3, 1.8))
    if rng.random() < 0.2:
        crop = noise(crop, rng.uniform(1, 9), rng)
    for _ in range(int(rng.choice(3, p=(0.3, 0.55, 0.15)))):  # recompressed never, once or twice
        crop = _random_recompression(crop, rng)
    rare = rng.random()
    if rare < DITHER_SHARE:
        return _random_dithering(crop, rng)
    if rare < DITHER_SHARE + SHARPEN_SHARE:
        return sharpen(crop, rng.uniform(0.7, 3.0), rng.uniform(120, 500))
    return crop


def corrupt_crops(crops: Pixels, seed: int) -> Pixels:
    """Corrupt each crop of (n, side, side, 3) at random; each depends on the seed and its index alone."""
    return np.stack([random_corruption(crop, np.random.default_rng([seed, i])) for i, crop in enumerate(crops)])


def pick(names: tuple[str, ...], rng: np.random.Generator) -> str:
    """Draw one of the names, all equally likely."""
    return names[rng.integers(len(names))]


def _random_recompression(crop: Pixels, rng: np.random.Generator) -> Pixels:
    """JPEG or WebP, each by one of two encoders, or H.264, which takes ten times as long."""
    codec, quality = rng.random(), int(rng.integers(30, 96))
    if codec < H264_SHARE:
        return h264(crop, int(rng.integers(17, 41)))
    encoder: Encoder = "opencv" if rng.random() < 0.5 else "pillow"
    if codec < H264_SHARE + WEBP_SHARE:
        return webp(crop, quality, encoder)
    return jpeg(crop, quality, encoder, pick(SUBSAMPLINGS, rng))


def _random_dithering(crop: Pixels, rng: np.random.Generator) -> Pixels:
    """Dots of one pixel, or of half a pixel that then melt into grey, as when the image is shrunk afterwards."""
    method: Dithering = "ordered" if rng.random() < 0.5 else "diffusion"
    height_px, width_px = crop.shape[:2]
    if rng.random() < 0.5 or max(height_px, width_px) > MAX_FINE_DITHER_PX:
        return dither(crop, method)
    fine = cv2.resize(crop, (2 * width_px, 2 * height_px), interpolation=cv2.INTER_LINEAR)
    dots = dither(np.asarray(fine, np.uint8), method)
    return np.asarray(cv2.resize(dots, (width_px, height_px), interpolation=cv2.INTER_AREA), np.uint8)


@cache
def _bayer_matrix(doublings: int) -> NDArray[np.float32]:
    """Thresholds 0 to 255, (2**doublings,) * 2, spread evenly."""
    matrix = np.zeros((1, 1))
    for _ in range(doublings):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return ((matrix + 0.5) / matrix.size * 255).astype(np.float32)


@cache
def _mozjpeg_tables(quality: int) -> list[list[int]]:
    """Quantization tables of luma and chroma, 64 numbers each, scaled by quality as libjpeg scales its own."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = [min(max((step * percent + 50) // 100, 1), 255) for row in _MOZJPEG_TABLE for step in row]
    return [steps, steps]


def _recompress_with_opencv(rgb: Pixels, suffix: str, options: list[int]) -> Pixels:
    # OpenCV takes BGR: an image with red and blue exchanged would have the wrong channels quantized.
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    return _decode(encoded)


def _decode(encoded: NDArray[np.uint8]) -> Pixels:
    return np.asarray(cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)
