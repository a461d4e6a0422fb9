"""An opened image and its bytes -> nothing, or an error: small files that would take seconds to decode are refused."""

from __future__ import annotations

import re
import struct

from PIL import Image

from deepfake_detector.errors import InputTooLarge

# Of a progressive JPEG image; each scan goes over all pixels again. Cameras and editors write about 10.
MAX_JPEG_SCANS = 100
# Of an array, for example of strips: three planes of 50 megapixels with a row per strip have 21,000.
MAX_TIFF_VALUES = 65_536
# A blank PNG image has about 1,000 pixels per byte, a photograph fewer than 50.
MAX_PIXELS_PER_BYTE, LARGE_PIXELS = 5_000, 16_000_000
_BYTE_ORDERS = {b"II": "<", b"MM": ">"}
_BYTE_TYPES = frozenset({1, 2, 6, 7})  # profiles, texts and thumbnails, which are read in one piece
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # in compressed data: neither a stuffed byte nor a restart
_START_OF_SCAN, _END_OF_IMAGE, _WITHOUT_LENGTH = 0xDA, 0xD9, frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})


def check_decoding_cost(image: Image.Image, data: bytes) -> None:
    """Check, before pixels are decoded, that decoding takes about as long as for other images of this size.

    Args:
        image: opened, not loaded.
        data: its bytes.

    Raises:
        InputTooLarge: it would take far longer.
    """
    pixels = image.width * image.height
    if pixels > LARGE_PIXELS and pixels > MAX_PIXELS_PER_BYTE * len(data):
        raise InputTooLarge(
            f"the image has {image.width} x {image.height} pixels in only {len(data):,} bytes: it is blank",
            "send a picture of a person",
        )
    if image.format in ("JPEG", "MPO") and count_jpeg_scans(data, MAX_JPEG_SCANS + 1) > MAX_JPEG_SCANS:
        raise InputTooLarge(f"the JPEG image has more than {MAX_JPEG_SCANS} scans", "save it again, and send that file")


def check_tiff_arrays(data: bytes) -> None:
    """Check, before a TIFF file is opened, that its first image does not consist of very many strips or tiles.

    Pillow makes an object of each. A broken directory is left to Pillow.

    Raises:
        InputTooLarge: it has more than MAX_TIFF_VALUES, or another array of numbers as long.
    """
    order = _BYTE_ORDERS.get(data[:2])
    if order is None or len(data) < 16:
        return
    is_big = data[2:4] in (b"+\0", b"\0+")
    (start,) = struct.unpack_from(f"{order}Q", data, 8) if is_big else struct.unpack_from(f"{order}I", data, 4)
    longest = longest_tiff_array(data, start, is_big)
    if longest > MAX_TIFF_VALUES:
        raise InputTooLarge(
            f"the TIFF image consists of {longest:,} strips or tiles, the limit is {MAX_TIFF_VALUES:,}",
            "save it again with larger ones",
        )


def longest_tiff_array(data: bytes, start: int, is_big: bool = False) -> int:
    """Number of values of the longest array of numbers in one directory of a TIFF file; 0 for a broken directory.

    Args:
        data: the file.
        start: offset of the directory.
        is_big: whether it is BigTIFF.
    """
    order, longest = _BYTE_ORDERS.get(data[:2], "<"), 0
    count_format, entry_format, entry_bytes = ("Q", "HHQ", 20) if is_big else ("H", "HHI", 12)
    try:
        (entries,) = struct.unpack_from(order + count_format, data, start)
        first = start + struct.calcsize(order + count_format)
        for i in range(min(entries, MAX_TIFF_VALUES)):
            _, kind, values = struct.unpack_from(order + entry_format, data, first + entry_bytes * i)
            if kind not in _BYTE_TYPES:
                longest = max(longest, values)
    except (struct.error, OverflowError):
        return 0
    return longest


def count_jpeg_scans(data: bytes, limit: int) -> int:
    """Number of scans of the first image in a JPEG file, at most `limit`; what is broken ends the count."""
    scans, at = 0, 2
    while scans < limit and at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker == _END_OF_IMAGE:
            break
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            if marker == _START_OF_SCAN:
                scans += 1
                found = _NEXT_MARKER.search(data, at)
                at = found.start() if found else len(data)
    return scans
