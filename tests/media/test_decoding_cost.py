"""Small files that take long to decode are refused in milliseconds; what cameras and editors write is not."""

from __future__ import annotations

import io
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepfake_detector.errors import InputTooLarge
from deepfake_detector.media.decoding_cost import MAX_JPEG_SCANS, count_jpeg_scans, longest_tiff_array
from deepfake_detector.media.image import decode_image, encode_jpeg

PICTURE = np.random.default_rng(1).integers(0, 256, (120, 90, 3)).astype(np.uint8)


def saved(name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, name, **options)
    return buffer.getvalue()


def progressive(scans: int) -> bytes:
    """A progressive JPEG image whose last scan is repeated."""
    data = saved("JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * (scans - count_jpeg_scans(data, 1000) + 1) + data[-2:]


def tiff_of_strips(strips: int, order: str = "<", big: bool = False) -> bytes:
    """A grey TIFF image, one pixel wide, with a strip per row."""
    number, entry, size = ("Q", "HHQQ", 20) if big else ("I", "HHII", 12)
    tags = [(256, 1), (257, strips), (258, 8), (259, 1), (262, 1), (273, None), (277, 1), (278, 1), (279, None)]
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}H", 43 if big else 42)
    head += struct.pack(f"{order}HHQ", 8, 0, 16) if big else struct.pack(f"{order}I", 8)
    table_bytes = struct.calcsize(order + ("Q" if big else "H")) + size * len(tags) + struct.calcsize(order + number)
    arrays_at = len(head) + table_bytes
    table = struct.pack(order + ("Q" if big else "H"), len(tags))
    for tag, value in tags:
        at = arrays_at + (0 if tag == 273 else struct.calcsize(f"{order}I") * strips)
        table += struct.pack(order + entry, tag, 4, 1 if value is not None else strips, at if value is None else value)
    arrays = struct.pack(f"{order}{strips}I", *[8] * strips) + struct.pack(f"{order}{strips}I", *[1] * strips)
    return head + table + struct.pack(order + number, 0) + arrays


def refused_in_time(data: bytes, match: str, limit_s: float = 0.5) -> None:
    start_s = time.process_time()
    with pytest.raises(InputTooLarge, match=match):
        decode_image(data)
    assert time.process_time() - start_s < limit_s


def test_scans_are_counted_past_thumbnails_restarts_and_what_follows_the_image() -> None:
    assert count_jpeg_scans(encode_jpeg(PICTURE), 1000) == 1
    scans = count_jpeg_scans(saved("JPEG", progressive=True), 1000)
    assert 5 < scans < 20
    thumbnail = saved("JPEG", progressive=True)
    comment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    with_thumbnail = thumbnail[:2] + comment + thumbnail[2:]
    assert count_jpeg_scans(with_thumbnail + b"\xff\xda" * 500, 1000) == scans
    assert count_jpeg_scans(saved("JPEG", restart_marker_blocks=1), 1000) == 1
    assert count_jpeg_scans(b"\xff\xd8\xff\xe0", 1000) == 0


def test_a_jpeg_image_of_very_many_scans_is_refused() -> None:
    assert count_jpeg_scans(progressive(MAX_JPEG_SCANS), 1000) == MAX_JPEG_SCANS
    assert decode_image(progressive(MAX_JPEG_SCANS)).shape == PICTURE.shape
    refused_in_time(progressive(MAX_JPEG_SCANS + 1), "more than 100 scans")
    refused_in_time(progressive(5_000), "more than 100 scans")


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_image_of_very_many_strips_is_refused(order: str) -> None:
    assert decode_image(tiff_of_strips(2000, order)).shape == (2000, 1, 3)
    refused_in_time(tiff_of_strips(2_000_000, order), "2,000,000 strips")
    refused_in_time(tiff_of_strips(1_000_000, order, big=True), "1,000,000 strips")


def test_a_broken_directory_is_left_to_the_decoder() -> None:
    for data in (b"II*\0\x08\0\0\0", b"II*\0" + b"\xff" * 100, b"MM\0+" + b"\xff" * 100):
        assert longest_tiff_array(data, 8) == 0
        assert longest_tiff_array(data, 2**63, is_big=True) == 0


def test_a_large_blank_image_of_a_few_bytes_is_refused() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (7000, 7000), "white").save(buffer, "WEBP", lossless=True, quality=0, method=0)
    assert len(buffer.getvalue()) < 9_000
    refused_in_time(buffer.getvalue(), "in only .* bytes: it is blank")


def test_a_large_blank_png_image_is_decoded() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (5000, 4000), "white").save(buffer, "PNG", compress_level=9)
    assert decode_image(buffer.getvalue()).shape == (4000, 5000, 3)


@pytest.mark.parametrize("name", ["jpeg-scans-20k.jpg", "webp-lossless-49m.webp"])
def test_the_reported_files_are_refused(name: str) -> None:
    path = Path(__file__).parents[3] / "shared" / "cases" / name
    if not path.exists():
        pytest.skip("the file is not part of the repository")
    refused_in_time(path.read_bytes(), "scans|blank")
