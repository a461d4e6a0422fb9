"""TIFF with 16 bits and a plane per channel -> uint8 (height, width, 3); Pillow and OpenCV scramble such files."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from deepfake_detector.errors import UnreadableImage

_BITS, _COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS, _ROWS_PER_STRIP, _STRIP_BYTES = 258, 259, 262, 273, 278, 279
_PLANAR_CONFIGURATION, _PREDICTOR, _SAMPLE_FORMAT = 284, 317, 339
_PLANES, _RGB, _UNSIGNED, _NO_PREDICTOR = 2, 2, 1, 1
_UNCOMPRESSED, _DEFLATE = (1,), (8, 32946)


def read_planar_tiff(image: Image.Image, data: bytes) -> NDArray[np.uint8] | None:
    """Read the high bytes of the first three planes.

    Args:
        image: an opened image, not loaded.
        data: the file.

    Returns:
        uint8 (height, width, 3); None for any other file.

    Raises:
        UnreadableImage: such a file with tiles, another compression than deflate, or other than RGB.
        ValueError, zlib.error, struct.error: truncated.
    """
    if not isinstance(image, TiffImageFile) or image.tag_v2.get(_PLANAR_CONFIGURATION) != _PLANES:
        return None
    tags = image.tag_v2
    bits = tags.get(_BITS, ())
    if max(bits, default=0) <= 8 or len(bits) < 2:
        return None
    plain = (
        set(bits) == {16}
        and len(bits) >= 3
        and tags.get(_PHOTOMETRIC) == _RGB
        and tags.get(_COMPRESSION, 1) in (*_UNCOMPRESSED, *_DEFLATE)
        and tags.get(_PREDICTOR, _NO_PREDICTOR) == _NO_PREDICTOR
        and set(tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))) == {_UNSIGNED}
        and _STRIP_OFFSETS in tags
    )
    if not plain:
        raise UnreadableImage(
            f"the TIFF image has {max(bits)} bits in separate planes, in a form that is not read",
            "save it with interleaved channels, or as PNG",
        )
    return _read_strips(image, data)


def _read_strips(image: TiffImageFile, data: bytes) -> NDArray[np.uint8]:
    tags = image.tag_v2
    width_px, height_px = image.size
    rows = min(tags.get(_ROWS_PER_STRIP, height_px), height_px)
    per_plane = -(-height_px // rows)
    offsets, sizes = tags[_STRIP_OFFSETS], tags[_STRIP_BYTES]
    sample = np.dtype(">u2" if data.startswith(b"MM") else "<u2")
    rgb = np.empty((height_px, width_px, 3), np.uint8)
    for strip in range(3 * per_plane):
        plane, top = strip // per_plane, strip % per_plane * rows
        height = min(rows, height_px - top)
        expected = width_px * height * sample.itemsize
        content = data[offsets[strip] : offsets[strip] + sizes[strip]]
        if tags.get(_COMPRESSION, 1) in _DEFLATE:
            content = zlib.decompressobj().decompress(content, expected)
        samples = np.frombuffer(content, sample, width_px * height).reshape(height, width_px)
        rgb[top : top + height, :, plane] = samples >> 8
    return rgb
