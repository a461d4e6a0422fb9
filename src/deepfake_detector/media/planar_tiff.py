"""TIFF with 16 bits and a plane per channel -> uint8 (height, width, 3); Pillow and OpenCV scramble such files.

Each plane is decoded as a grey image of its own, so that every compression, predictor and tiling that libtiff reads is
read here, too.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from deepfake_detector.errors import UnreadableImage
from deepfake_detector.media.tiff_directory import LONG, SHORT, TiffFile, read_tiff

_BITS, _PHOTOMETRIC, _STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _STRIP_BYTES = 258, 262, 273, 274, 277, 279
_PLANAR_CONFIGURATION, _TILE_OFFSETS, _TILE_BYTES, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 284, 324, 325, 338, 339
_PLANES, _RGB, _GREY, _UNSIGNED = 2, 2, 1, 1
_PREMULTIPLIED, _ALPHA = 1, 2  # kinds of extra samples


def read_planar_tiff(image: Image.Image, data: bytes) -> Image.Image | None:
    """Decode the high bytes of red, green, blue and, if there is one, the alpha channel.

    Args:
        image: an opened image, not loaded.
        data: the file that it was opened from.

    Returns:
        Mode RGB, RGBA or RGBa, as stored: not turned; None for any other file.

    Raises:
        UnreadableImage: such a file that is not RGB of 16 bits.
        OSError, ValueError: truncated.
    """
    if not isinstance(image, TiffImageFile) or image.tag_v2.get(_PLANAR_CONFIGURATION) != _PLANES:
        return None
    tags = image.tag_v2
    bits = tags.get(_BITS, ())
    if max(bits, default=0) <= 8 or len(bits) < 2:
        return None
    unsigned = set(tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))) == {_UNSIGNED}
    tiff = read_tiff(data)
    if tiff is None or set(bits) != {16} or len(bits) < 3 or tags.get(_PHOTOMETRIC) != _RGB or not unsigned:
        raise UnreadableImage(
            f"the TIFF image has {max(bits)} bits in separate planes, in a form that is not read",
            "save it with interleaved channels, or as PNG",
        )
    extra = tags.get(_EXTRA_SAMPLES, (0,))[0] if len(bits) > 3 else 0
    mode = {_PREMULTIPLIED: "RGBa", _ALPHA: "RGBA"}.get(extra, "RGB")
    return Image.merge(mode, [Image.fromarray(_read_plane(tiff, k, len(bits))) for k in range(len(mode))])


def _read_plane(tiff: TiffFile, number: int, planes: int) -> NDArray[np.uint8]:
    """One plane of the first page, uint8 (height, width)."""
    entries = dict(next(tiff.directories()))
    for tag in (_EXTRA_SAMPLES, _SAMPLE_FORMAT, _ORIENTATION):
        entries.pop(tag, None)
    for tag in {_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES} & set(entries):
        values = tiff.numbers(entries[tag])
        share = len(values) // planes
        entries[tag] = tiff.packed(LONG, values[number * share : (number + 1) * share])
    for tag, value in ((_BITS, 16), (_PHOTOMETRIC, _GREY), (_SAMPLES, 1), (_PLANAR_CONFIGURATION, 1)):
        entries[tag] = tiff.packed(SHORT, [value])
    with Image.open(io.BytesIO(tiff.with_directory(entries)), formats=("TIFF",)) as grey:
        return (np.asarray(grey) >> 8).astype(np.uint8)
