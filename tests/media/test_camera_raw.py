"""Of camera raw files the largest preview is found; every other file has none."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.errors import UnreadableImage
from deepfake_detector.media.camera_raw import find_preview
from deepfake_detector.media.image import decode_image, decode_image_with_notes, encode_jpeg

DNG_VERSION, SENSOR = 50706, 32803


def picture(side_px: int) -> NDArray[np.uint8]:
    ramp = np.linspace(0, 255, side_px).astype(np.uint8)
    return np.stack(np.broadcast_arrays(ramp, ramp[:, None], np.uint8(90)), axis=2)


def directory(tags: Mapping[int, int | bytes], offset: int, order: str) -> bytes:
    """A TIFF directory that lies at `offset`; bytes are stored behind it, as numbers of 4 bytes are inside."""
    entries, content = b"", b""
    behind = offset + 2 + 12 * len(tags) + 4
    for tag, value in sorted(tags.items()):
        if isinstance(value, int):
            entries += struct.pack(order + "HHII", tag, 4, 1, value)
        else:
            kind, size = (3, 2) if tag == 258 else (1, 1)
            entries += struct.pack(order + "HHII", tag, kind, len(value) // size, behind + len(content))
            content += value
    return struct.pack(order + "H", len(tags)) + entries + bytes(4) + content


def raw_file(
    previews: list[bytes | NDArray[np.uint8]],
    order: str = "<",
    orientation: int = 1,
    magic: bytes = b"",
    deflate: bool = False,
) -> bytes:
    """A raw file: its first directory is the first preview, the others and the sensor data lie below it."""
    start = magic or (b"II*\0" if order == "<" else b"MM\0*")
    data = bytearray(start + bytes(4))
    tables: list[dict[int, int | bytes]] = []
    for preview in previews:
        content = preview if isinstance(preview, bytes) else preview.tobytes()
        content = zlib.compress(content) if deflate and not isinstance(preview, bytes) else content
        tags: dict[int, int | bytes] = {273: len(data), 279: len(content), 254: 1}
        if isinstance(preview, bytes):
            with Image.open(io.BytesIO(preview)) as image:
                tags |= {256: image.width, 257: image.height, 259: 7, 262: 6, 277: 3}
        else:
            tags |= {256: preview.shape[1], 257: preview.shape[0], 258: struct.pack(order + "3H", 8, 8, 8)}
            tags |= {259: 8 if deflate else 1, 262: 2, 277: 3, 278: preview.shape[0], 284: 1}
        tables.append(tags)
        data += content
    tables.append({254: 0, 256: 4000, 257: 3000, 259: 7, 262: SENSOR, 273: 8, 279: 4})
    offsets = []
    for tags in tables[1:]:
        offsets.append(len(data))
        data += directory(tags, len(data), order)
    first = tables[0] | {274: orientation, 330: struct.pack(f"{order}{len(offsets)}I", *offsets)}
    at = len(data)
    table = bytearray(directory(first, at, order))
    sub_directories = table.index(struct.pack(order + "HH", 330, 1))
    table[sub_directories + 2 : sub_directories + 8] = struct.pack(order + "HI", 4, len(offsets))
    if len(offsets) == 1:
        table[sub_directories + 8 : sub_directories + 12] = struct.pack(order + "I", offsets[0])
    data[4:8] = struct.pack(order + "I", at)
    return bytes(data + table)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_largest_preview_is_decoded_not_the_thumbnail(order: str) -> None:
    large = picture(192)
    data = raw_file([picture(64), large, encode_jpeg(picture(128), 95)], order)
    np.testing.assert_array_equal(decode_image(data), large)
    jpeg = encode_jpeg(picture(256), 95)
    decoded = decode_image_with_notes(raw_file([picture(64), large, jpeg], order))
    np.testing.assert_array_equal(decoded.rgb, decode_image(jpeg))
    assert decoded.notes == ("of this camera raw file its preview of 256 x 256 px was scored",)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_compressed_preview_is_not_passed_over_for_a_smaller_one(order: str) -> None:
    data = raw_file([encode_jpeg(picture(64)), picture(192)], order, deflate=True)
    np.testing.assert_array_equal(decode_image(data), picture(192))


def test_a_preview_is_rotated_as_the_raw_file_says() -> None:
    data = raw_file([picture(64), encode_jpeg(picture(128), 95)], orientation=6)
    expected = np.rot90(decode_image(encode_jpeg(picture(128), 95)), -1)
    np.testing.assert_array_equal(decode_image(data), expected)


def test_a_raw_file_without_a_preview_is_refused() -> None:
    data = raw_file([picture(8)])
    without = data.replace(struct.pack("<HHII", 262, 4, 1, 2), struct.pack("<HHII", 262, 4, 1, SENSOR))
    with pytest.raises(UnreadableImage, match="no preview"):
        decode_image(without)


def test_olympus_and_fujifilm_files_are_read_by_their_jpeg() -> None:
    jpeg = encode_jpeg(picture(96), 95)
    olympus = raw_file([jpeg], magic=b"IIRO")
    np.testing.assert_array_equal(decode_image(olympus), decode_image(jpeg))
    fujifilm = b"FUJIFILMCCD-RAW ".ljust(84, b"0") + struct.pack(">II", 200, len(jpeg))
    np.testing.assert_array_equal(decode_image(fujifilm.ljust(200, b"\0") + jpeg), decode_image(jpeg))
    with pytest.raises(UnreadableImage, match="no preview"):
        decode_image(fujifilm)


def test_plain_images_are_no_raw_files() -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture(32)).save(buffer, "TIFF")
    for data in (b"", b"II*\0", buffer.getvalue(), encode_jpeg(picture(32))):
        assert find_preview(data) is None


def test_flipped_bytes_give_a_preview_or_nothing() -> None:
    whole = np.frombuffer(raw_file([picture(16), encode_jpeg(picture(32))]), np.uint8)
    rng = np.random.default_rng(5)
    for _ in range(200):
        data = whole.copy()
        data[rng.integers(0, len(data), 40)] = rng.integers(0, 256, 40)
        found = find_preview(data.tobytes())
        assert found is None or found.data is None or len(found.data) > 2
