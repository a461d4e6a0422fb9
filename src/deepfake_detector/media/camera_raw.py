"""Camera raw bytes (DNG, CR2, NEF, ARW, PEF, ORF, RAF) -> the largest preview in them, as bytes of an image file."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from deepfake_detector.media.decoding_cost import MAX_TIFF_VALUES, longest_tiff_array

_TIFF_MAGICS = (b"II*\x00", b"MM\x00*")
_OLYMPUS_MAGICS = {b"IIRO": b"II*\x00", b"IIRS": b"II*\x00", b"MMOR": b"MM\x00*"}
_FUJIFILM_MAGIC, _FUJIFILM_JPEG = b"FUJIFILMCCD-RAW", slice(84, 92)  # offset and length, big endian
_JPEG_START = b"\xff\xd8"
_HEADER_BYTES = 8
_MAX_DIRECTORIES = 16  # a camera writes two to eight
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _ORIENTATION, _STRIP_BYTES, _SUB_DIRECTORIES = 273, 274, 279, 330
_JPEG_OFFSET, _JPEG_BYTES, _DNG_VERSION = 513, 514, 50706
_UNCOMPRESSED, _PICTURE_PHOTOMETRICS = 1, (2, 6)  # RGB and YCbCr
_SENSOR_PHOTOMETRICS = (32803, 34892)  # colour filter array, linear raw: not a picture yet


@dataclass(frozen=True)
class RawPreview:
    """The largest preview of a camera raw file.

    Attributes:
        data: an image file; None where the raw file holds no preview that can be read.
        orientation: EXIF orientation of the raw file, 1 to 8; previews mostly lack their own.
    """

    data: bytes | None
    orientation: int = 1


def find_preview(data: bytes) -> RawPreview | None:
    """Find the largest preview.

    Args:
        data: content of the file.

    Returns:
        None if it is no camera raw file.
    """
    if data.startswith(_FUJIFILM_MAGIC):
        offset, size = struct.unpack(">II", data[_FUJIFILM_JPEG].ljust(8, b"\0"))
        return RawPreview(_jpeg(data, offset, size))
    magic = _OLYMPUS_MAGICS.get(data[:4], data[:4])
    if magic not in _TIFF_MAGICS or len(data) < _HEADER_BYTES:
        return None
    directories = list(_directories(magic + data[4:_HEADER_BYTES], data))
    if data[:4] in _TIFF_MAGICS and not any(map(_of_a_camera, directories)):
        return None
    previews = [found for each in directories if (found := _preview(magic, each, data)) is not None]
    orientation = directories[0].number(_ORIENTATION) if directories else 1
    return RawPreview(max(previews, key=_pixels, default=None), orientation if 1 <= orientation <= 8 else 1)


class _Directory(dict[int, object]):
    """Tags of one image of a TIFF file, and where they lie."""

    def __init__(self, tags: dict[int, object], offset: int) -> None:
        super().__init__(tags)
        self.offset = offset

    def number(self, tag: int) -> int:
        """The (first) number of a tag; -1 without one."""
        value = self.get(tag)
        first = value[0] if isinstance(value, tuple) and value else value
        return int(first) if isinstance(first, int) else -1


def _directories(header: bytes, data: bytes) -> Iterator[_Directory]:
    """All directories, also those below another; none behind a broken one."""
    stream = io.BytesIO(data)
    pending, seen = [ImageFileDirectory_v2(header).next], set[int]()
    while pending and len(seen) < _MAX_DIRECTORIES:
        offset = pending.pop(0)
        if not 0 < offset < len(data) or offset in seen:
            continue
        seen.add(offset)
        if longest_tiff_array(data, offset) > MAX_TIFF_VALUES:
            continue
        try:
            stream.seek(offset)
            read = ImageFileDirectory_v2(header)
            read.load(stream)
            directory = _Directory(dict(read), offset)
        except Exception:  # Pillow raises nearly anything on broken tags
            continue
        below = directory.get(_SUB_DIRECTORIES, ())
        pending += [
            read.next,
            *(each for each in (below if isinstance(below, tuple) else (below,)) if type(each) is int),
        ]
        yield directory


def _of_a_camera(directory: _Directory) -> bool:
    return _DNG_VERSION in directory or directory.number(_PHOTOMETRIC) in _SENSOR_PHOTOMETRICS


def _preview(magic: bytes, directory: _Directory, data: bytes) -> bytes | None:
    """The image of one directory as an image file; None if it is sensor data or cannot be read."""
    jpeg = _jpeg(data, directory.number(_JPEG_OFFSET), directory.number(_JPEG_BYTES))
    if jpeg is not None or directory.number(_PHOTOMETRIC) in _SENSOR_PHOTOMETRICS:
        return jpeg
    strips = directory.get(_STRIP_OFFSETS)
    if directory.number(_COMPRESSION) != _UNCOMPRESSED and (not isinstance(strips, tuple) or len(strips) == 1):
        jpeg = _jpeg(data, directory.number(_STRIP_OFFSETS), directory.number(_STRIP_BYTES))
        if jpeg is not None:
            return jpeg
    if directory.number(_PHOTOMETRIC) in _PICTURE_PHOTOMETRICS:
        order = "<I" if magic.startswith(b"II") else ">I"
        # The same file, beginning with this directory.
        return magic + struct.pack(order, directory.offset) + data[_HEADER_BYTES:]
    return None


def _jpeg(data: bytes, offset: int, size: int) -> bytes | None:
    found = data[offset : offset + size] if offset > 0 and size > 0 else b""
    return found if found.startswith(_JPEG_START) else None


def _pixels(preview: bytes) -> int:
    """Width times height by the header, 0 if it cannot be read."""
    try:
        with Image.open(io.BytesIO(preview), formats=("JPEG", "TIFF")) as image:
            return image.width * image.height
    except Exception:
        return 0
