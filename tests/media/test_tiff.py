"""TIFF files of all layouts -> the pixels that were stored: pages, byte orders, planes, tiles, compressions, bits."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.errors import InputTooLarge, UnreadableImage
from deepfake_detector.media.image import decode_image, decode_image_with_notes
from deepfake_detector.media.tiff_directory import count_pages, full_size_page, read_tiff

HEIGHT, WIDTH = 20, 30
COLOURS = np.random.default_rng(4).integers(0, 2**16, (HEIGHT, WIDTH, 3)).astype(np.uint16)
HIGH = (COLOURS >> 8).astype(np.uint8)
LONG, LONG8 = (4, "I"), (16, "Q")
UNCOMPRESSED, LZW, DEFLATE, GREY, RGB = 1, 5, 8, 1, 2


@dataclass(frozen=True)
class Page:
    """One page: its tags, all of whole numbers, and the strips or tiles that they describe."""

    tags: Mapping[int, Sequence[int]]
    pieces: Sequence[bytes]
    tiled: bool = False


def tiff_file(*pages: Page, order: str = "<", big: bool = False) -> bytes:
    """A classic TIFF or a BigTIFF."""
    kind, code = LONG8 if big else LONG
    word, count_code, entry = struct.calcsize(code), "Q" if big else "H", "HHQ" if big else "HHI"
    magic = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "HHHQ", 43, 8, 0, 0) if big else struct.pack(order + "HI", 42, 0)
    body, link = bytearray(magic + head), 8 if big else 4
    for page in pages:
        offsets = []
        for piece in page.pieces:
            offsets.append(len(body))
            body += piece
        places = (324, 325) if page.tiled else (273, 279)
        tags = {**page.tags, places[0]: offsets, places[1]: [len(piece) for piece in page.pieces]}
        entries = b""
        for tag, numbers in sorted(tags.items()):
            packed = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
            if len(packed) > word:
                at = len(body)
                body += packed
                packed = struct.pack(order + code, at)
            entries += struct.pack(order + entry, tag, kind, len(numbers)) + packed
        struct.pack_into(order + code, body, link, len(body))
        body += struct.pack(order + count_code, len(tags)) + entries
        link = len(body)
        body += bytes(word)
    return bytes(body)


def page_tags(bits: Sequence[int], compression: int = UNCOMPRESSED, photometric: int = RGB) -> dict[int, Sequence[int]]:
    return {
        256: [WIDTH], 257: [HEIGHT], 258: list(bits), 259: [compression], 262: [photometric], 277: [len(bits)],
        278: [HEIGHT],
    }  # fmt: skip


def compressed(plane: NDArray[np.uint16], compression: int, order: str, predictor: bool) -> bytes:
    """A strip of one plane; differences of neighbours with a predictor."""
    if predictor:
        plane = np.diff(plane, axis=1, prepend=np.zeros((len(plane), 1), np.uint16))
    raw = plane.astype(order + "u2").tobytes()
    if compression == LZW:
        buffer = io.BytesIO()
        whole = np.frombuffer(raw, np.uint8).reshape(len(plane), -1)
        Image.fromarray(whole).save(buffer, "TIFF", compression="tiff_lzw", tiffinfo={278: len(plane)})
        with Image.open(buffer) as image:
            start, size = image.tag_v2[273][0], image.tag_v2[279][0]  # type: ignore[attr-defined]
        return buffer.getvalue()[start : start + size]
    return zlib.compress(raw) if compression == DEFLATE else raw


def tiles(plane: NDArray[np.uint16], side: int, order: str) -> list[bytes]:
    padded = np.pad(plane, ((0, -len(plane) % side), (0, -plane.shape[1] % side)))
    return [
        padded[top : top + side, left : left + side].astype(order + "u2").tobytes()
        for top in range(0, padded.shape[0], side)
        for left in range(0, padded.shape[1], side)
    ]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("compression", [UNCOMPRESSED, LZW, DEFLATE])
@pytest.mark.parametrize(("rows", "predictor"), [(HEIGHT, False), (7, False), (7, True)])
def test_planes_of_16_bits_keep_the_high_bytes(
    order: str, big: bool, compression: int, rows: int, predictor: bool
) -> None:
    if predictor and compression == UNCOMPRESSED:
        return  # libtiff knows predictors of compressed data only
    strips = [
        compressed(COLOURS[top : top + rows, :, k], compression, order, predictor)
        for k in range(3)
        for top in range(0, HEIGHT, rows)
    ]
    tags = page_tags([16] * 3, compression) | {278: [rows], 284: [2]} | ({317: [2]} if predictor else {})
    np.testing.assert_array_equal(decode_image(tiff_file(Page(tags, strips), order=order, big=big)), HIGH)


@pytest.mark.parametrize("order", ["<", ">"])
def test_planes_in_tiles(order: str) -> None:
    pieces = [tile for k in range(3) for tile in tiles(COLOURS[..., k], 16, order)]
    tags = {t: v for t, v in page_tags([16] * 3).items() if t != 278} | {284: [2], 322: [16], 323: [16]}
    np.testing.assert_array_equal(decode_image(tiff_file(Page(tags, pieces, tiled=True), order=order)), HIGH)


@pytest.mark.parametrize(("kind", "expected"), [(0, 100), (1, 227), (2, 177)])
def test_the_fourth_plane_is_blended_with_white_if_it_is_alpha(kind: int, expected: int) -> None:
    """Half transparent, in 16 bits: 100 of 255 becomes 100 + 127 if premultiplied, and their mean if not."""
    planes = [np.full((HEIGHT, WIDTH), level * 257, "<u2").tobytes() for level in (100, 100, 100, 128)]
    tags = page_tags([16] * 4) | {284: [2], 338: [kind]}
    assert decode_image(tiff_file(Page(tags, planes)))[3, 4, 0] == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_planes_are_turned_as_their_tag_says(orientation: int) -> None:
    stored = {False: tiff_file(Page(page_tags([16] * 3) | {274: [orientation]}, [COLOURS.astype("<u2").tobytes()]))}
    planes = [COLOURS[..., k].astype("<u2").tobytes() for k in range(3)]
    stored[True] = tiff_file(Page(page_tags([16] * 3) | {274: [orientation], 284: [2]}, planes))
    np.testing.assert_array_equal(decode_image(stored[True]), decode_image(stored[False]))


def test_a_truncated_planar_tiff_is_unreadable() -> None:
    planes = [COLOURS[..., k].astype("<u2").tobytes() for k in range(3)]
    for tags in ({278: [1]}, {257: [3 * HEIGHT]}, {257: [3 * HEIGHT], 278: [3 * HEIGHT]}):
        with pytest.raises(UnreadableImage):
            decode_image(tiff_file(Page(page_tags([16] * 3) | tags | {284: [2]}, planes)))


def test_planes_of_other_samples_are_refused_with_a_way_out() -> None:
    planes = [bytes(4 * HEIGHT * WIDTH)] * 3
    for bits, extra in ((32, {339: [3] * 3}), (32, {}), (16, {262: [8]}), (16, {339: [2] * 3})):
        with pytest.raises(UnreadableImage):
            decode_image(tiff_file(Page(page_tags([bits] * 3) | {284: [2]} | extra, planes)))
    with pytest.raises(UnreadableImage, match="16 bits in separate planes") as caught:
        decode_image(tiff_file(Page(page_tags([16] * 4, photometric=5) | {284: [2]}, [*planes, planes[0]])))
    assert "interleaved channels" in caught.value.hint


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_both_byte_orders_of_both_sizes_of_offsets(order: str, big: bool) -> None:
    deep = Page(page_tags([16] * 3), [COLOURS.astype(order + "u2").tobytes()])
    np.testing.assert_array_equal(decode_image(tiff_file(deep, order=order, big=big)), HIGH)
    plain = Page(page_tags([8] * 3), [HIGH.tobytes()])
    np.testing.assert_array_equal(decode_image(tiff_file(plain, order=order, big=big)), HIGH)


def test_grey_where_0_is_white_is_no_negative() -> None:
    grey = COLOURS[..., 0]
    for order in "<>":
        stored = (0xFFFF - grey).astype(order + "u2").tobytes()
        data = tiff_file(Page(page_tags([16], photometric=0), [stored]), order=order)
        if order == "<":
            np.testing.assert_array_equal(decode_image(data)[..., 1], (grey >> 8).astype(np.uint8))
        else:  # Pillow does not know it
            with pytest.raises(UnreadableImage, match="of a form that is not read"):
                decode_image(data)


def test_grey_of_signed_16_bits_has_its_white_at_32767() -> None:
    signed = (COLOURS[..., 0] >> 1).astype("<i2")
    data = tiff_file(Page(page_tags([16], photometric=GREY) | {339: [2]}, [signed.tobytes()]))
    np.testing.assert_array_equal(decode_image(data)[..., 0], HIGH[..., 0])
    with pytest.raises(UnreadableImage, match="fixed white"):
        decode_image(tiff_file(Page(page_tags([16], photometric=GREY) | {339: [2]}, [(-signed).tobytes()])))


def test_grey_of_12_bits_is_not_black() -> None:
    grey = COLOURS[..., 0] >> 4
    pairs = grey.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], axis=1)
    data = tiff_file(Page(page_tags([12], photometric=GREY), [packed.astype(np.uint8).tobytes()]))
    np.testing.assert_array_equal(decode_image(data)[..., 2], HIGH[..., 0])


def test_a_thumbnail_before_the_picture_is_passed_over() -> None:
    tags = page_tags([8] * 3)
    picture, small = Page(tags, [HIGH.tobytes()]), Page(tags | {254: [1]}, [bytes(HIGH.size)])
    old = Page(tags | {255: [2]}, [bytes(HIGH.size)])
    for pages in ((small, picture), (old, small, picture), (picture, small)):
        decoded = decode_image_with_notes(tiff_file(*pages))
        np.testing.assert_array_equal(decoded.rgb, HIGH)
        assert decoded.notes == ()
    np.testing.assert_array_equal(decode_image(tiff_file(small, small)), np.zeros_like(HIGH))


def test_of_several_pages_the_first_is_scored_and_the_answer_says_so() -> None:
    page = Page(page_tags([8] * 3), [HIGH.tobytes()])
    decoded = decode_image_with_notes(tiff_file(page, page, page))
    assert decoded.notes == ("only the first of 3 pages was looked at",)
    np.testing.assert_array_equal(decoded.rgb, HIGH)


def test_a_circle_of_pages_ends() -> None:
    data = tiff_file(Page(page_tags([8] * 3), [HIGH.tobytes()]))
    start = struct.unpack_from("<I", data, 4)[0]
    assert count_pages(data[:-4] + struct.pack("<I", start)) == 1


def test_broken_directories_are_left_to_pillow() -> None:
    whole = tiff_file(Page(page_tags([16] * 3) | {284: [2]}, [bytes(2 * HEIGHT * WIDTH)] * 3), order=">", big=True)
    rng = np.random.default_rng(5)
    for _ in range(300):
        data = np.frombuffer(whole, np.uint8).copy()
        at = rng.integers(0, 16, 3) if rng.integers(2) else rng.integers(len(data) - 300, len(data), 6)
        data[at] = rng.integers(0, 256, len(at))
        try:
            assert decode_image(data.tobytes()).ndim == 3
        except (UnreadableImage, InputTooLarge):
            continue


def test_other_files_are_returned_as_they_are() -> None:
    plain = tiff_file(Page(page_tags([8] * 3), [HIGH.tobytes()]))
    for data in (b"", b"II*\0", b"\xff\xd8\xff", plain):
        assert full_size_page(data) is data
    assert read_tiff(b"\xff\xd8\xff" + bytes(30)) is None
    assert count_pages(b"\xff\xd8\xff" + bytes(30)) == 1


@pytest.mark.parametrize("planar", [1, 2])
def test_a_file_that_lacks_strips_is_refused_and_not_partly_black(planar: int) -> None:
    whole = COLOURS.astype("<u2") if planar == 1 else COLOURS.transpose(2, 0, 1).astype("<u2")
    for tags in (page_tags([16] * 3), page_tags([16] * 3) | {278: [1]}, page_tags([16] * 3) | {278: [7]}):
        data = tiff_file(Page(tags | {284: [planar]}, [whole.tobytes()]))
        if tags[278] == [HEIGHT] and planar == 1:
            np.testing.assert_array_equal(decode_image(data), HIGH)
        else:
            with pytest.raises(UnreadableImage, match="lacks"):
                decode_image(data)


def test_directories_that_name_the_same_bytes_a_thousand_times_cost_nothing() -> None:
    """5,000 tags of all of a file of 4 MB would be 20 GB."""
    filler = 4 * 2**20
    table = b"".join(struct.pack("<HHII", 40_000 + i, 7, filler, 8) for i in range(5000))
    reduced = struct.pack("<HHII", 254, 4, 1, 1)
    first = struct.pack("<H", 1) + reduced + struct.pack("<I", 8 + filler + 18)
    data = (
        struct.pack("<2sHI", b"II", 42, 8 + filler) + bytes(filler) + first + struct.pack("<H", 5000) + table + bytes(4)
    )
    tracemalloc.start()
    try:
        assert full_size_page(data) is data
        assert count_pages(data) == 1
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


def test_tags_of_all_pages_together_are_bounded() -> None:
    """Directories that overlap: each begins two bytes after the one before, with 60,000 tags."""
    body = struct.pack("<H", 60_000) * 500_000
    data = struct.pack("<2sHI", b"II", 42, 8) + body
    start_s = time.process_time()
    full_size_page(data)
    count_pages(data)
    assert time.process_time() - start_s < 3


def test_a_directory_with_many_values_takes_no_longer_than_its_bytes() -> None:
    """Big-endian BigTIFF becomes classic TIFF: 20,000 values of 400 bytes are 8 MB."""
    tags, value_bytes, values_at = 20_000, 400, 24 + 20 * 20_000 + 8
    table = b"".join(struct.pack(">HHQQ", tag, 7, value_bytes, values_at) for tag in range(tags))
    head = struct.pack(">2sHHHQQ", b"MM", 43, 8, 0, 16, tags)
    data = (head + table + bytes(8)).ljust(tags * value_bytes + 1, b"\1")
    start_s = time.process_time()
    assert len(full_size_page(data)) > 2 * tags * value_bytes
    assert time.process_time() - start_s < 3


def test_an_offset_that_no_memory_has_is_left_to_pillow() -> None:
    """A directory of 65,535 tags, then one that claims so many that the end of it has more than 63 bits."""
    tags, second = 65_535, 24 + 20 * 65_535 + 8
    table = struct.pack("<HHQQ", 40_000, 7, 1, 0) * tags
    head = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, tags)
    data = head + table + struct.pack("<QQ", second, 2**60) + bytes(64)
    assert full_size_page(data) is data
    assert count_pages(data) == 1
    with pytest.raises(UnreadableImage):
        decode_image(data)
