"""Encoded bytes -> RGB pixels uint8 (height, width, 3), and back; limits are checked before a pixel is decoded."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Importing the plug-ins registers them; otherwise Pillow loads all of its forty on the first unknown file.
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
from deepfake_detector.media.limits import DEFAULT_IMAGE_LIMITS, ImageLimits
from deepfake_detector.media.orientation import EXIF_ORIENTATIONS

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # MPO, which phones write, opens as JPEG
ISO_MEDIA_FORMATS = ("AVIF", "HEIF")  # in the same container as videos
FORMATS_HINT = "send a JPEG, PNG, WebP, AVIF, HEIC, BMP, TIFF or GIF image"
ORIENTATION_TAG = 0x0112
_warnings_lock = threading.Lock()


def decode_image(data: bytes, limits: ImageLimits = DEFAULT_IMAGE_LIMITS) -> NDArray[np.uint8]:
    """Decode one image, upright.

    Of animations and multi-page files the first frame. EXIF orientation is applied. Transparent pixels lie over
    white, as on web pages: the colours under them are whatever an editor left there. Of 16 bits the high 8 are kept.
    CMYK is converted without a profile; colour profiles are ignored, as in the training data.

    Args:
        data: an encoded image.
        limits: checked on the byte count and the header, before pixels are decoded.

    Returns:
        uint8 (height, width, 3), RGB, writable.

    Raises:
        UnreadableImage: not an image of a known format, or truncated.
        InputTooLarge: over a limit.
    """
    if len(data) > limits.max_bytes:
        raise InputTooLarge(
            f"the image has {len(data):,} bytes, the limit is {limits.max_bytes:,}", "send a smaller file"
        )
    image = _open(data)
    _check_pixels(image.size, limits)
    try:
        image.load()
        pixels = _to_rgb(image)
    except UnreadableImage:
        raise
    except Exception as error:  # plug-ins raise nearly anything on broken files: OSError, SyntaxError, struct.error
        raise UnreadableImage(
            f"the {image.format} image is broken or truncated: {error}", "send the whole file, or save it again"
        ) from error
    return EXIF_ORIENTATIONS[_exif_orientation(image)].apply(pixels)


def encode_png(rgb: NDArray[np.uint8]) -> bytes:
    """Encode without loss.

    Args:
        rgb: uint8 (height, width, 3).
    """
    return _encode(rgb, "PNG", compress_level=3)


def encode_jpeg(rgb: NDArray[np.uint8], quality: int = 90) -> bytes:
    """Encode as JPEG with 4:2:0 chroma, Pillow's default.

    Args:
        rgb: uint8 (height, width, 3).
        quality: 1 to 95.
    """
    return _encode(rgb, "JPEG", quality=quality)


def _encode(rgb: NDArray[np.uint8], format_name: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(buffer, format=format_name, **options)
    return buffer.getvalue()


def _open(data: bytes) -> Image.Image:
    if not data:
        raise UnreadableImage("the image is empty: 0 bytes", FORMATS_HINT)
    iso_media = data[4:8] == b"ftyp"
    if iso_media:
        _register_heif()
    try:
        with _warnings_ignored():
            return Image.open(io.BytesIO(data), formats=ISO_MEDIA_FORMATS if iso_media else FORMATS)
    except Image.DecompressionBombError as error:
        raise InputTooLarge(f"the image is too large: {error}", "send a smaller image") from error
    except Exception as error:
        start = data[:12].decode("ascii", errors="replace")
        raise UnreadableImage(
            f"these {len(data):,} bytes are not a readable image; they start with {start!r}", FORMATS_HINT
        ) from error


@contextmanager
def _warnings_ignored() -> Iterator[None]:
    """Ignore Pillow's warnings about odd headers, also where warnings are errors.

    `warnings.catch_warnings` is not thread-safe, hence the lock. It covers header work only: decoding gives no warning
    and stays parallel.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@lru_cache(maxsize=1)
def _register_heif() -> None:
    """Add HEIC, which iPhones write, to Pillow; takes 0.1 s, hence only for files that may be HEIC."""
    import pi_heif

    pi_heif.register_heif_opener(thumbnails=False)


def _check_pixels(size: tuple[int, int], limits: ImageLimits) -> None:
    width_px, height_px = size
    if width_px * height_px > limits.max_pixels:
        raise InputTooLarge(
            f"the image has {width_px} x {height_px} pixels, the limit is {limits.max_pixels:,} in all",
            "send a smaller image",
        )


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith(("I", "F")):
        return _high_bytes(image)
    if image.mode == "RGB" and not image.has_transparency_data:
        return np.array(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def _high_bytes(image: Image.Image) -> NDArray[np.uint8]:
    """16-bit grey as RGB, by the high byte, as Pillow converts 16-bit RGB; its own grey conversion clips at 255."""
    grey = np.asarray(image)
    if image.mode.startswith("F") or grey.min() < 0 or grey.max() > 0xFFFF:
        raise UnreadableImage(
            f"the {image.format} image has pixels of mode {image.mode}, which have no fixed white",
            "save it with 8 or 16 bits",
        )
    return np.repeat((grey >> 8).astype(np.uint8)[:, :, None], 3, axis=2)


def _exif_orientation(image: Image.Image) -> int:
    """Read the EXIF orientation after loading: Pillow rotates TIFF pages itself and then removes the tag."""
    try:
        with _warnings_ignored():
            orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a broken EXIF block does not make an image unreadable
        return 1
    return orientation if orientation in EXIF_ORIENTATIONS else 1
