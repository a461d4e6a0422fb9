"""Bytes of an image -> whether it is an animation, and its number of frames; counted from headers, nothing decoded."""

from __future__ import annotations

from PIL import Image

from deepfake_detector.media.file_type import HEAD_BYTES, iso_brands, mime_of

PILLOW_ANIMATIONS = ("image/png", "image/webp", "image/avif")  # libav does not read these
ANIMATION_MIMES = ("image/gif", *PILLOW_ANIMATIONS)
HEIF_SEQUENCE_BRANDS = frozenset({b"msf1", b"hevc", b"hevx"})  # stills have them, too
MAX_ANIMATION_BYTES = 20 * 2**20  # read at most, to find a second frame and to decode
MAX_COUNTED = 1000  # frames of a GIF, which must be counted one by one
_EXTENSION, _IMAGE = 0x21, 0x2C  # blocks of a GIF
_COLOUR_TABLE = 0x80
_PNG_CHUNKS_AT, _WEBP_ANIMATED = 8, 2


def may_be_animation(head: bytes) -> bool:
    """Whether a file that starts with `head` (`HEAD_BYTES` bytes) is of a format that holds animations."""
    return mime_of(head) in ANIMATION_MIMES or _has_sequence_brand(head)


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
    if mime == "image/avif":
        return b"avis" in iso_brands(data[:HEAD_BYTES])
    # With `meta` there is an image that viewers show; without it all frames are in a track, as in a video.
    return _has_sequence_brand(data[:HEAD_BYTES]) and {b"moov", b"meta"} & _top_boxes(data) == {b"moov"}


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
    """The number in the chunk acTL, which comes before the pixels, and the image for programs that do not animate.

    1 without acTL. That image is a frame if a chunk fcTL lies before it.
    """
    at, frames, shown = _PNG_CHUNKS_AT, 0, False
    while at + 12 <= len(data) and data[at + 4 : at + 8] != b"IDAT":
        if data[at + 4 : at + 8] == b"acTL":
            frames = int.from_bytes(data[at + 8 : at + 12], "big")
        shown = shown or data[at + 4 : at + 8] == b"fcTL"
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return frames + (not shown) if frames else 1


def _has_sequence_brand(head: bytes) -> bool:
    heif = mime_of(head) in ("image/heic", "image/heif")
    return heif and not HEIF_SEQUENCE_BRANDS.isdisjoint(iso_brands(head))


def _top_boxes(data: bytes) -> set[bytes]:
    """Names of the outermost boxes of an ISO media file."""
    at, names = 0, set[bytes]()
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        names.add(data[at + 4 : at + 8])
        if size == 1:  # a longer number follows
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8:  # 0: to the end
            break
        at += size
    return names


def _colour_table_bytes(flags: bytes) -> int:
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & _COLOUR_TABLE else 0


def _after_sub_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1
