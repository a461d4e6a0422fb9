"""Bytes of a TIFF file -> its directories (tags with raw values), and a file whose first directory is another one.

Pillow reads the first directory only, and no big-endian BigTIFF; libtiff, below Pillow, reads what is written here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, TiffImagePlugin

from deepfake_detector.media.decoding_cost import MAX_TIFF_VALUES

SHORT, LONG, LONG8 = 3, 4, 16
SUBFILE_TYPE, OLD_SUBFILE_TYPE, WIDTH, HEIGHT = 254, 255, 256, 257
MAX_PAGES = 1000
_ORDERS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_NUMBER_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_BITS, _STRIP_OFFSETS, _ROWS_PER_STRIP, _PLANAR_CONFIGURATION = 258, 273, 278, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _SEPARATE = 322, 323, 324, 2
_REDUCED_OR_MASK, _OLD_REDUCED = 0b101, 2  # bits of NewSubfileType; a value of SubfileType


@dataclass(frozen=True)
class Value:
    """The value of a tag.

    Attributes:
        kind: TIFF's number of its type, for example `SHORT`.
        raw: as stored, in the byte order of the file; a view, because many values may name the same bytes.
    """

    kind: int
    raw: bytes | memoryview


@dataclass(frozen=True)
class TiffFile:
    """The frame of a TIFF file.

    Attributes:
        data: all of it.
        order: "<" or ">", as in `struct`.
        is_big: whether it is BigTIFF.
    """

    data: bytes
    order: str
    is_big: bool

    def directories(self) -> Iterator[dict[int, Value]]:
        """The pages in their order, up to the first broken one; at most MAX_PAGES with MAX_TIFF_VALUES tags in all."""
        seen, tags = set[int](), 0
        offset = self._number("Q", 8) if self.is_big else self._number("I", 4)
        while 0 < offset < len(self.data) and offset not in seen and len(seen) < MAX_PAGES and tags < MAX_TIFF_VALUES:
            seen.add(offset)
            try:
                entries, offset, read = self._directory(offset, MAX_TIFF_VALUES - tags)
            except (struct.error, OverflowError):  # beyond the end, or beyond any memory
                return
            tags += read
            yield entries

    def numbers(self, value: Value) -> tuple[int, ...]:
        """Whole numbers of a tag; () for another type."""
        code = _NUMBER_FORMATS.get(value.kind)
        if code is None:
            return ()
        return struct.unpack(f"{self.order}{len(value.raw) // struct.calcsize(code)}{code}", value.raw)

    def packed(self, kind: int, numbers: Sequence[int]) -> Value:
        """Whole numbers as the value of a tag."""
        return Value(kind, struct.pack(f"{self.order}{len(numbers)}{_NUMBER_FORMATS[kind]}", *numbers))

    def with_directory(self, entries: Mapping[int, Value]) -> bytes:
        """The same file as classic TIFF with one directory, which is appended; offsets inside the file stay valid.

        Raises:
            ValueError, struct.error: the values would be longer than the file, or an offset has more than 32 bits.
        """
        at = len(self.data) + len(self.data) % 2
        if sum(len(value.raw) for value in entries.values()) > len(self.data):
            raise ValueError("values of a TIFF directory overlap")
        values = {tag: self._as_classic(value) for tag, value in sorted(entries.items())}
        content_at = at + 2 + 12 * len(values) + 4
        table, content = bytearray(struct.pack(self.order + "H", len(values))), bytearray()
        for tag, value in values.items():
            count = len(value.raw) // _TYPE_BYTES[value.kind]
            table += struct.pack(self.order + "HHI", tag, value.kind, count)
            if len(value.raw) <= 4:
                table += bytes(value.raw).ljust(4, b"\0")
            else:
                table += struct.pack(self.order + "I", content_at + len(content))
                content += value.raw
                content += bytes(len(value.raw) % 2)
        magic = b"II*\0" if self.order == "<" else b"MM\0*"
        padding = b"\0" * (at - len(self.data))
        return magic + struct.pack(self.order + "I", at) + self.data[8:] + padding + table + bytes(4) + content

    def _directory(self, offset: int, most: int) -> tuple[dict[int, Value], int, int]:
        """One directory with so many tags at most, the offset of the next, and the number of tags."""
        count_code, entry_code, inline = ("Q", "HHQ", 8) if self.is_big else ("H", "HHI", 4)
        count = self._number(count_code, offset)
        at = offset + struct.calcsize(count_code)
        entry_bytes = struct.calcsize(self.order + entry_code) + inline
        entries, view = dict[int, Value](), memoryview(self.data)
        for start in range(at, at + entry_bytes * min(count, most), entry_bytes):
            tag, kind, values = struct.unpack_from(self.order + entry_code, self.data, start)
            if kind not in _TYPE_BYTES:  # of a later version of the format
                continue
            size, where = values * _TYPE_BYTES[kind], start + entry_bytes - inline
            if size > inline:
                where = self._number("Q" if self.is_big else "I", where)
            raw = view[where : where + size]
            if len(raw) == size:  # as Pillow, leave out what lies beyond the end
                entries[tag] = Value(kind, raw)
        return entries, self._number("Q" if self.is_big else "I", at + entry_bytes * count), min(count, most)

    def _as_classic(self, value: Value) -> Value:
        return self.packed(LONG, self.numbers(value)) if value.kind in (LONG8, 18) else value

    def _number(self, code: str, at: int) -> int:
        return int(struct.unpack_from(self.order + code, self.data, at)[0])


def read_tiff(data: bytes) -> TiffFile | None:
    """The frame of a file; None if it is no TIFF."""
    order = _ORDERS.get(data[:4])
    return None if order is None or len(data) < 16 else TiffFile(data, order, b"+" in data[2:4])


def full_size_page(data: bytes) -> bytes:
    """The file, or one that begins with its first page of full size where its first page is a thumbnail or a mask.

    Big-endian BigTIFF, which Pillow does not read, becomes classic TIFF.
    """
    tiff = read_tiff(data)
    if tiff is None:
        return data
    pages = list(tiff.directories())
    full = next((page for page in pages if not _is_reduced(tiff, page)), None)
    try:
        if full is not None and (full is not pages[0] or data.startswith(b"MM\0+")):
            return tiff.with_directory(full)
    except (ValueError, struct.error):
        return data
    return data


def count_pages(data: bytes) -> int:
    """Pages of a TIFF file without thumbnails and masks; at least 1, at most MAX_PAGES."""
    tiff = read_tiff(data)
    if tiff is None:
        return 1
    return max(sum(not _is_reduced(tiff, page) for page in tiff.directories()), 1)


def missing_pieces(image: Image.Image) -> int:
    """Strips or tiles that a TIFF image of its size consists of and this one lacks: Pillow leaves them black."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    tags = image.tag_v2
    width_px, height_px = tags.get(WIDTH, 0), tags.get(HEIGHT, 0)  # before it is turned
    planes = len(tags.get(_BITS, (1,))) if tags.get(_PLANAR_CONFIGURATION) == _SEPARATE else 1
    if _TILE_OFFSETS in tags:
        across, down = -(-width_px // max(tags[_TILE_WIDTH], 1)), -(-height_px // max(tags[_TILE_HEIGHT], 1))
        return int(max(across * down * planes - len(tags[_TILE_OFFSETS]), 0))
    strips = -(-height_px // max(min(tags.get(_ROWS_PER_STRIP, height_px), height_px), 1))
    return int(max(strips * planes - len(tags.get(_STRIP_OFFSETS, ())), 0))


def _is_reduced(tiff: TiffFile, page: Mapping[int, Value]) -> bool:
    new, old = (_first_number(tiff, page.get(tag)) for tag in (SUBFILE_TYPE, OLD_SUBFILE_TYPE))
    return bool(new & _REDUCED_OR_MASK) or old == _OLD_REDUCED


def _first_number(tiff: TiffFile, value: Value | None) -> int:
    """0 without one."""
    if value is None or value.kind not in _NUMBER_FORMATS:
        return 0
    return (tiff.numbers(Value(value.kind, value.raw[: _TYPE_BYTES[value.kind]])) or (0,))[0]
