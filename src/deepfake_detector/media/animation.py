"""Bytes of an image -> whether it is an animation, and its number of frames; counted from headers, nothing decoded."""

from __future__ import annotations

from PIL import Image

from deepfake_detector.media.file_type import HEAD_BYTES, iso_brands, mime_of

ANIMATION_MIMES = ("image/gif", "image/png", "image/webp", "image/avif")
MAX_ANIMATION_BYTES = 20 * 2**20  # read at most, to find a second frame and to decode
MAX_COUNTED = 1000  # frames of a GIF, which must be counted one by one
_EXTENSION, _IMAGE = 0x21, 0x2C  # blocks of a GIF
_COLOUR_TABLE = 0x80
_PNG_CHUNKS_AT, _WEBP_ANIMATED = 8, 2


def may_be_animation(head: bytes) -> bool:
    """Whether a file that starts with `head` (`HEAD_BYTES` bytes) is of a format that holds animations."""
    return mime_of(head) in ANIMATION_MIMES


def is_animation(data: bytes) -> bool:
    """Whether an image has more than one frame, by its headers.

    Args:
        data: the file, or its beginning.
    """
    mime = mime_of(data[:HEAD_BYTES])
    if mime == "image/gif":
        return count_gif_frames(data) > 1
    if mime == "image/png":
        return _png_frames(data) > 1
    if mime == "image/webp":
        return data[12:16] == b"VP8X" and bool(data[20:21] and data[20] & _WEBP_ANIMATED)
    return mime in ANIMATION_MIMES and b"avis" in iso_brands(data[:HEAD_BYTES])


def animation_frames(image: Image.Image, data: bytes) -> int:
    """Frames of an animation; 1 for every other image, also for pages and previews.

    Args:
        image: an opened image.
        data: the file.
    """
    if image.format == "GIF":
        return max(count_gif_frames(data), 1)
    if image.format in ("PNG", "WEBP", "AVIF"):
        return int(getattr(image, "n_frames", 1))
    return 1


def count_gif_frames(data: bytes) -> int:
    """Frames of a GIF, up to the first broken block, at most `MAX_COUNTED`.

    Args:
        data: the file, or its beginning.
    """
    frames, at = 0, 13 + _colour_table_bytes(data[10:11])
    while frames < MAX_COUNTED and at < len(data):
        if data[at] == _EXTENSION:
            at = _after_sub_blocks(data, at + 2)
        elif data[at] == _IMAGE:
            frames += 1
            at = _after_sub_blocks(data, at + 11 + _colour_table_bytes(data[at + 9 : at + 10]))
        else:
            break
    return frames


def _png_frames(data: bytes) -> int:
    """The number in the chunk acTL, which comes before the pixels; 1 without it."""
    at = _PNG_CHUNKS_AT
    while at + 12 <= len(data) and data[at + 4 : at + 8] != b"IDAT":
        if data[at + 4 : at + 8] == b"acTL":
            return int.from_bytes(data[at + 8 : at + 12], "big")
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return 1


def _colour_table_bytes(flags: bytes) -> int:
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & _COLOUR_TABLE else 0


def _after_sub_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1
