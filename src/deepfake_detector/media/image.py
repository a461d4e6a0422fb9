"""Encoded bytes -> RGB pixels uint8 (height, width, 3), and back; limits are checked before a pixel is decoded."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
from deepfake_detector.media.animation import MAX_COUNTED, animation_frames, is_animation
from deepfake_detector.media.camera_raw import find_preview
from deepfake_detector.media.decoding_cost import check_decoding_cost, check_tiff_arrays
from deepfake_detector.media.file_type import HEAD_BYTES, file_type, iso_brands, looks_like_image, mime_of
from deepfake_detector.media.limits import DEFAULT_IMAGE_LIMITS, ImageLimits
from deepfake_detector.media.orientation import EXIF_ORIENTATIONS
from deepfake_detector.media.planar_tiff import read_planar_tiff
from deepfake_detector.media.tiff_directory import count_pages, full_size_page, missing_pieces

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # MPO, which phones write, opens as JPEG
ISO_MEDIA_FORMATS = ("AVIF", "HEIF")  # in the same container as videos
FORMATS_HINT = "send a JPEG, PNG, WebP, AVIF, HEIC, BMP, TIFF or GIF image"
ORIENTATION_TAG = 0x0112
# First brands of AVIF and HEIF files that Pillow and pi_heif open; with "mif1" both try.
_KNOWN_BRANDS = frozenset(b"avif avis heic heix heim heis hevc hevx mif1 msf1".split())
_ANY_CODEC, _AVIF_SEQUENCE = b"mif1", b"avis"
_SIGNED, _ZERO_IS_WHITE = 2, 0  # of TIFF's sample format and photometric interpretation
MAX_REASON = 200  # characters of a decoder's message, which may quote the file
_warnings_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """The pixels of an image, and what was left out.

    Attributes:
        rgb: uint8 (height, width, 3), upright, writable.
        notes: one clause each, for people: "only the first of 24 frames was looked at"; mostly none.
    """

    rgb: NDArray[np.uint8]
    notes: tuple[str, ...] = ()


def decode_image(data: bytes, limits: ImageLimits = DEFAULT_IMAGE_LIMITS) -> NDArray[np.uint8]:
    """Decode one image, upright: the pixels of `decode_image_with_notes`, uint8 (height, width, 3), RGB, writable.

    Raises:
        UnreadableImage, InputTooLarge: see `decode_image_with_notes`.
    """
    return decode_image_with_notes(data, limits).rgb


def decode_image_with_notes(data: bytes, limits: ImageLimits = DEFAULT_IMAGE_LIMITS) -> DecodedImage:
    """Decode one image, upright.

    Of animations the first frame, of TIFF files the first page of full size, of camera raw files the largest preview.
    EXIF orientation is applied. Transparent pixels lie over white, as on web pages: the colours under them are whatever
    an editor left there. Of 16 bits the high 8 are kept. CMYK is converted without a profile; colour profiles are
    ignored, as in the training data.

    Args:
        data: an encoded image.
        limits: checked on the byte count and the header, before pixels are decoded.

    Raises:
        UnreadableImage: not an image of a known format, or truncated.
        InputTooLarge: over a limit.
    """
    if len(data) > limits.max_bytes:
        raise InputTooLarge(
            f"the image has {len(data):,} bytes, the limit is {limits.max_bytes:,}", "send a smaller file"
        )
    check_tiff_arrays(data)
    raw = find_preview(data)
    if raw is not None:
        if raw.data is None:
            raise UnreadableImage("this camera raw file holds no preview that can be read", "export it as a JPEG image")
        decoded = _decode(raw.data, limits, raw.orientation)
        height_px, width_px = decoded.rgb.shape[:2]
        return DecodedImage(
            decoded.rgb, (f"of this camera raw file its preview of {width_px} x {height_px} px was scored",)
        )
    decoded = _decode(full_size_page(data), limits)
    if (pages := count_pages(data)) > 1:
        return DecodedImage(decoded.rgb, (*decoded.notes, f"only the first of {pages} pages was looked at"))
    return decoded


def _decode(data: bytes, limits: ImageLimits, orientation: int = 1) -> DecodedImage:
    """Decode; `orientation` is used where the image has none of its own."""
    image = open_image(data)
    _check_pixels(image.size, limits)
    check_decoding_cost(image, data)
    if missing := missing_pieces(image):
        raise UnreadableImage(f"the TIFF image lacks {missing:,} of its strips or tiles", "send the whole file")
    try:
        merged = read_planar_tiff(image, data)
        if merged is None:
            image.load()
        rgb = to_rgb(image if merged is None else merged)
    except UnreadableImage:
        raise
    except Exception as error:  # plug-ins raise nearly anything on broken files: OSError, SyntaxError, struct.error
        raise UnreadableImage(
            f"the {image.format} image is broken or truncated: {str(error)[:MAX_REASON]}",
            "send the whole file, or save it again",
        ) from error
    own = _exif_orientation(image)
    notes: tuple[str, ...] = ()
    if (frames := animation_frames(image, data)) > 1:
        number = f"{MAX_COUNTED} or more" if frames >= MAX_COUNTED else frames
        notes = (f"only the first of {number} frames was looked at; as a video, frames of all of it are",)
    return DecodedImage(EXIF_ORIENTATIONS[orientation if own == 1 else own].apply(rgb), notes)


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


def open_image(data: bytes) -> Image.Image:
    """Read the header of an image; `load` decodes it.

    Raises:
        UnreadableImage: not an image of a known format.
        InputTooLarge: over twice Pillow's limit on pixels.
    """
    if not data:
        raise UnreadableImage("the image is empty: 0 bytes", FORMATS_HINT)
    if data[4:8] != b"ftyp":
        return _open_as(data, FORMATS)
    _register_heif()
    for brand in _brands_to_try(data):
        with suppress(UnreadableImage):
            image = _open_as(data[:8] + brand + data[12:], ISO_MEDIA_FORMATS)
            if image.format == "AVIF" or mime_of(data[:HEAD_BYTES]) != "image/avif":  # pi_heif cannot decode AV1
                return image
    raise UnreadableImage(_why_unreadable(data), FORMATS_HINT)


def _open_as(data: bytes, formats: tuple[str, ...]) -> Image.Image:
    try:
        with _warnings_ignored():
            return Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise InputTooLarge(f"the image is too large: {str(error)[:MAX_REASON]}", "send a smaller image") from error
    except Exception as error:
        raise UnreadableImage(_why_unreadable(data), FORMATS_HINT) from error


def _why_unreadable(data: bytes) -> str:
    found = file_type(data[:HEAD_BYTES])
    if found is not None and not (found.supported and found.kind == "image"):
        return f"this is {found.name}, not an image that is read here"
    if found is not None and is_animation(data):
        return f"this is {found.name} with frames only, which is read as a video, or it is broken"
    if found is not None:
        return f"this is {found.name} of a form that is not read here, or broken"
    return f"these {len(data):,} bytes are not an image of a format that is read here"


def _brands_to_try(data: bytes) -> list[bytes]:
    """First brands under which Pillow's plug-ins may read this ISO media file; they look at no other brand."""
    brands = iso_brands(data[:HEAD_BYTES])
    sequence = [_AVIF_SEQUENCE] if _AVIF_SEQUENCE in brands else []  # under "avif" an animation has one frame
    known = [brands[0]] if brands[0] in _KNOWN_BRANDS else []
    return [*sequence, *known, *([_ANY_CODEC] if looks_like_image(data[:HEAD_BYTES]) else [])]


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


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """A decoded image as stored, uint8 (height, width, 3), writable; see `decode_image_with_notes`.

    Raises:
        UnreadableImage: its pixels have no fixed white.
    """
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
    """16-bit grey as RGB, by the high byte, as Pillow converts 16-bit RGB; its own grey conversion clips at 255.

    Programs also store 8 or 16 bits in 32: pixels of a mode with 32 bits that fit into 8 are taken as 8. TIFF has 12
    bits, signed 16 bits (white is 32,767), and grey where 0 is white.
    """
    grey = np.asarray(image)
    if image.mode.startswith("F") or grey.min() < 0 or grey.max() > 0xFFFF:
        raise UnreadableImage(
            f"the {image.format} image has pixels of mode {image.mode}, which have no fixed white",
            "save it with 8 or 16 bits",
        )
    bits, zero_is_white = _bits_and_polarity(image)
    shift = 0 if image.mode == "I" and grey.max() <= 0xFF else bits - 8
    high = (grey >> shift).astype(np.uint8)
    return np.repeat((255 - high if zero_is_white else high)[:, :, None], 3, axis=2)


def _bits_and_polarity(image: Image.Image) -> tuple[int, bool]:
    """Bits of a grey pixel from black to white, at most 16, and whether 0 is white, by the tags of a TIFF image."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 16, False
    tags = image.tag_v2
    stored = tags.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0]
    is_signed = stored == 16 and tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0] == _SIGNED
    return min(stored, 16) - is_signed, tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _ZERO_IS_WHITE


def _exif_orientation(image: Image.Image) -> int:
    """Read the EXIF orientation after loading: Pillow rotates TIFF pages itself and then removes the tag."""
    try:
        with _warnings_ignored():
            orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a broken EXIF block does not make an image unreadable
        return 1
    return orientation if orientation in EXIF_ORIENTATIONS else 1
