"""Encoded bytes -> RGB pixels, uint8 (height, width, 3), and back; the header is judged before a pixel is decoded."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Importing the plug-ins registers them; Pillow would otherwise load all of its forty on the first unknown file.
from PIL import (  # noqa: F401
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from deepfake_detector.errors import InputTooLarge, UnreadableImage
from deepfake_detector.media.orientation import UPRIGHT

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # MPO, what phones write, opens as JPEG
BOXED_FORMATS = ("AVIF", "HEIF")  # in ISO media files, as videos are
FORMATS_HINT = "send a JPEG, PNG, WebP, AVIF, HEIC, BMP, TIFF or GIF picture"
ORIENTATION_TAG = 0x0112
_warning_filters = threading.Lock()


@dataclass(frozen=True)
class ImageLimits:
    """What a picture may cost: bytes as sent, pixels as its header declares them."""

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000


def decode_image(data: bytes, limits: ImageLimits = ImageLimits()) -> NDArray[np.uint8]:
    """Decode one picture, upright, as a person sees it.

    The first frame of animations and multi-page files; EXIF orientation applied; transparency over white, as
    pages show it (the colours under a transparent pixel are whatever an editor left there); 16 bits become
    the high 8; CMYK through Pillow's plain conversion; colour profiles are ignored, as in the training data.

    Args:
        data: an encoded picture.
        limits: checked on the byte count and on the header, before pixels are decoded.

    Returns:
        uint8 (height, width, 3), RGB, writable.

    Raises:
        UnreadableImage: not a picture of a known format, or cut short.
        InputTooLarge: over a limit.
    """
    if len(data) > limits.max_bytes:
        raise InputTooLarge(
            f"the picture has {len(data):,} bytes, the limit is {limits.max_bytes:,}", "send a smaller file"
        )
    image = _open(data)
    _check_pixels(image.size, limits)
    try:
        image.load()
        pixels = _rgb(image)
    except UnreadableImage:
        raise
    except Exception as error:  # plug-ins raise nearly anything on broken files: OSError, SyntaxError, struct.error
        raise UnreadableImage(
            f"the {image.format} picture is broken or cut short: {error}", "send the whole file, or save it anew"
        ) from error
    return UPRIGHT[_orientation(image)].apply(pixels)


def encode_png(rgb: NDArray[np.uint8]) -> bytes:
    """Encode without loss.

    Args:
        rgb: uint8 (height, width, 3).
    """
    return _encoded(rgb, "PNG", compress_level=3)


def encode_jpeg(rgb: NDArray[np.uint8], quality: int = 90) -> bytes:
    """Encode as JPEG with 4:2:0 chroma, Pillow's default.

    Args:
        rgb: uint8 (height, width, 3).
        quality: 1 to 95.
    """
    return _encoded(rgb, "JPEG", quality=quality)


def _encoded(rgb: NDArray[np.uint8], name: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(buffer, format=name, **options)
    return buffer.getvalue()


@contextmanager
def _silence() -> Iterator[None]:
    """Pillow warns about odd headers; whoever runs with warnings as errors must get the same picture as everybody.

    `warnings.catch_warnings` is not safe between threads, hence the lock. It covers header work only: decoding warns
    about nothing and stays parallel.
    """
    with _warning_filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _open(data: bytes) -> Image.Image:
    if not data:
        raise UnreadableImage("the picture is empty: 0 bytes", FORMATS_HINT)
    boxed = data[4:8] == b"ftyp"
    if boxed:
        _register_heif()
    try:
        with _silence():
            return Image.open(io.BytesIO(data), formats=BOXED_FORMATS if boxed else FORMATS)
    except Image.DecompressionBombError as error:
        raise InputTooLarge(f"the picture is too large: {error}", "send a smaller picture") from error
    except Exception as error:
        start = data[:12].decode("ascii", errors="replace")
        raise UnreadableImage(
            f"these {len(data):,} bytes are no picture that can be read; they start with {start!r}", FORMATS_HINT
        ) from error


@lru_cache(maxsize=1)
def _register_heif() -> None:
    """Teach Pillow HEIC, what iPhones write; 0.1 s, hence only for files that may be one."""
    import pi_heif

    pi_heif.register_heif_opener(thumbnails=False)


def _check_pixels(size: tuple[int, int], limits: ImageLimits) -> None:
    width_px, height_px = size
    if width_px * height_px > limits.max_pixels:
        raise InputTooLarge(
            f"the picture has {width_px} x {height_px} pixels, the limit is {limits.max_pixels:,} in all",
            "send a smaller picture",
        )


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith(("I", "F")):
        return _grey_of_many_bits(image)
    if image.mode == "RGB" and not image.has_transparency_data:
        return np.array(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def _grey_of_many_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Scale 16 bits to 8 as Pillow does for 16-bit RGB, by the high byte; its own grey conversion clips at 255."""
    grey = np.asarray(image)
    if image.mode.startswith("F") or grey.min() < 0 or grey.max() > 0xFFFF:
        raise UnreadableImage(
            f"the {image.format} picture has pixels of mode {image.mode}, which have no fixed white",
            "save it with 8 or 16 bits",
        )
    return np.repeat((grey >> 8).astype(np.uint8)[:, :, None], 3, axis=2)


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation after loading: Pillow turns TIFF pages itself, and then takes the tag away."""
    try:
        with _silence():
            found = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a broken EXIF block does not make a picture unreadable
        return 1
    return found if found in UPRIGHT else 1
