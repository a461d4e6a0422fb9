"""Every format, orientation and pixel type decodes to the drawn image; everything else gets an error with a hint."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pillow_heif
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.errors import InputTooLarge, UnreadableImage
from deepfake_detector.media.image import decode_image, encode_jpeg, encode_png
from deepfake_detector.media.limits import ImageLimits


def gradient(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Smooth colours, so that lossy codecs stay close, different in each corner, so that every rotation shows."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), np.full_like(x, 60)], axis=2).astype(np.uint8)


def encode(image: Image.Image, name: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    if name == "HEIF":  # pi_heif, which reads it, cannot write it
        pillow_heif.from_pillow(image).save(buffer, quality=90, **options)
        return buffer.getvalue()
    image.save(buffer, format=name, **options)
    return buffer.getvalue()


def distance(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("name", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_are_exact(name: str) -> None:
    rgb = decode_image(encode(Image.fromarray(gradient()), name))
    assert rgb.dtype == np.uint8
    assert rgb.flags.c_contiguous
    assert rgb.flags.writeable
    np.testing.assert_array_equal(rgb, gradient())


@pytest.mark.parametrize(("name", "tolerance"), [("JPEG", 3), ("WEBP", 3), ("AVIF", 3), ("HEIF", 3), ("GIF", 25)])
def test_lossy_formats_are_close(name: str, tolerance: float) -> None:
    assert distance(decode_image(encode(Image.fromarray(gradient()), name)), gradient()) < tolerance


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_tiff_compressions(compression: str) -> None:
    assert distance(decode_image(encode(Image.fromarray(gradient()), "TIFF", compression=compression)), gradient()) < 4


def test_an_mpo_file_gives_its_first_image() -> None:
    second = Image.fromarray(255 - gradient())
    data = encode(Image.fromarray(gradient()), "MPO", save_all=True, append_images=[second])
    assert distance(decode_image(data), gradient()) < 3


@pytest.mark.parametrize("name", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_and_pages_give_the_first_frame(name: str) -> None:
    second = Image.fromarray(255 - gradient())
    data = encode(Image.fromarray(gradient()), name, save_all=True, append_images=[second])
    assert distance(decode_image(data), gradient()) < 25


# EXIF orientation -> how a camera stores an upright image: the inverse of what a viewer does.
STORED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda p: p,
    2: np.fliplr,
    3: lambda p: np.rot90(p, 2),
    4: np.flipud,
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: np.rot90(p.transpose(1, 0, 2), 2),
    8: lambda p: np.rot90(p, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](gradient())))
    assert distance(decode_image(encode(image, name, exif=exif)), gradient()) < 3


def test_an_unknown_orientation_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(gradient()), "PNG", exif=exif)), gradient())


def test_broken_exif_does_not_make_an_image_unreadable() -> None:
    data = encode(Image.fromarray(gradient()), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xffgarbage")
    assert distance(decode_image(data), gradient()) < 3


def test_grey_black_and_white_and_palette() -> None:
    grey = Image.fromarray(gradient()[:, :, 0])
    np.testing.assert_array_equal(decode_image(encode(grey, "PNG")), np.repeat(gradient()[:, :, :1], 3, axis=2))
    assert set(np.unique(decode_image(encode(grey.convert("1"), "PNG")))) == {0, 255}
    palette = Image.fromarray(gradient()).quantize(64)
    np.testing.assert_array_equal(decode_image(encode(palette, "PNG")), np.asarray(palette.convert("RGB")))


def test_transparent_pixels_are_blended_with_white() -> None:
    rgba = np.dstack([gradient(), np.full(gradient().shape[:2], 255, np.uint8)])
    rgba[:, :20, 3] = 0
    rgba[:, 20:40, 3] = 128
    rgb = decode_image(encode(Image.fromarray(rgba), "PNG"))
    assert (rgb[:, :20] == 255).all()
    assert distance(rgb[:, 20:40], (gradient()[:, 20:40] // 2 + 127).astype(np.uint8)) < 2
    np.testing.assert_array_equal(rgb[:, 40:], gradient()[:, 40:])


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_colour_declared_transparent_becomes_white(mode: str) -> None:
    image = Image.new(mode, (8, 8), 0)
    transparent = (0, 0, 0) if mode == "RGB" else 0
    assert (decode_image(encode(image, "PNG", transparency=transparent)) == 255).all()


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_cmyk_is_not_a_negative(name: str) -> None:
    assert distance(decode_image(encode(Image.fromarray(gradient()).convert("CMYK"), name)), gradient()) < 6


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(name: str) -> None:
    steep = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
    rgb = decode_image(encode(Image.fromarray(steep), name))
    np.testing.assert_array_equal(rgb[:, :, 1], (steep >> 8).astype(np.uint8))


def test_16_bit_rgb_keeps_the_high_byte() -> None:
    deep = (gradient().astype(">u2") << 8) + 77
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    data = png_chunks((b"IHDR", struct.pack(">IIBBBBB", 64, 48, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)))
    np.testing.assert_array_equal(decode_image(data), gradient())


def test_pixels_without_a_fixed_white_are_refused() -> None:
    for pixels in (np.ones((4, 4), np.float32), np.full((4, 4), 1_000_000, np.int32)):
        with pytest.raises(UnreadableImage, match="fixed white"):
            decode_image(encode(Image.fromarray(pixels), "TIFF"))


def png_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in (*chunks, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9])
def test_a_truncated_image_is_unreadable(name: str, kept: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8)
    data = encode(Image.fromarray(noise), name)
    with pytest.raises(UnreadableImage) as caught:
        decode_image(data[: int(len(data) * kept)])
    assert caught.value.hint


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"hello, this is not an image",
        b'<svg xmlns="http://www.w3.org/2000/svg"></svg>',
        b"%PDF-1.7",
        b"\xff\xd8\xff",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x10\0\0\0WEBPVP8 ",
        b"II*\0\x08\0\0\0",
        b"BM",
        bytes(range(256)) * 20,
    ],
)
def test_other_bytes_get_the_list_of_formats(data: bytes) -> None:
    with pytest.raises(UnreadableImage) as caught:
        decode_image(data)
    assert "JPEG, PNG, WebP" in caught.value.hint


def test_other_formats_are_not_decoded() -> None:
    for name in ("PPM", "ICO", "TGA", "EPS", "PDF"):
        with pytest.raises(UnreadableImage):
            decode_image(encode(Image.fromarray(gradient()), name))


def test_too_many_bytes_are_rejected_before_anything_is_read() -> None:
    with pytest.raises(InputTooLarge, match="101 bytes, the limit is 100"):
        decode_image(b"x" * 101, ImageLimits(max_bytes=100))


@pytest.mark.parametrize("side", [7_100, 12_000, 60_000, 2_000_000_000])
def test_a_decompression_bomb_is_rejected_by_its_header(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    with pytest.raises(InputTooLarge):
        decode_image(png_chunks((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100))))


def test_the_pixel_limit_is_inclusive() -> None:
    data = encode_png(gradient())
    assert decode_image(data, ImageLimits(max_pixels=48 * 64)).shape == (48, 64, 3)
    with pytest.raises(InputTooLarge, match="64 x 48"):
        decode_image(data, ImageLimits(max_pixels=48 * 64 - 1))


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_images_one_pixel_wide_or_high(name: str) -> None:
    for size in ((1, 1), (1, 9), (9, 1)):
        assert decode_image(encode(Image.new("RGB", size, "red"), name)).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "MPO"])
def test_flipped_bytes_give_an_image_or_our_error_and_no_warning(name: str) -> None:
    rng = np.random.default_rng(5)
    options: dict[str, Any] = (
        {"save_all": True, "append_images": [Image.fromarray(gradient())]} if name == "MPO" else {}
    )
    whole = np.frombuffer(encode(Image.fromarray(gradient()), name, **options), np.uint8)
    for _ in range(60):
        data = whole.copy()
        data[rng.integers(0, len(data), 6)] = rng.integers(0, 256, 6)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                rgb = decode_image(data.tobytes(), ImageLimits(max_pixels=1_000_000))
            except (UnreadableImage, InputTooLarge):
                continue
        assert rgb.dtype == np.uint8
        assert rgb.shape[2] == 3


def test_many_threads_leave_the_warning_filters_unchanged() -> None:
    before = list(warnings.filters)
    data = encode_jpeg(gradient())
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(decode_image, [data] * 200))
    assert all((image == images[0]).all() for image in images)
    assert list(warnings.filters) == before


def test_encoded_images_decode_to_the_original() -> None:
    np.testing.assert_array_equal(decode_image(encode_png(gradient())), gradient())
    flipped = gradient()[:, ::-1]  # not contiguous
    np.testing.assert_array_equal(decode_image(encode_png(flipped)), flipped)
    assert distance(decode_image(encode_jpeg(gradient())), gradient()) < 3
    assert len(encode_jpeg(gradient(), quality=30)) < len(encode_jpeg(gradient(), quality=95))


@pytest.mark.parametrize(("highest", "expected"), [(255, 200), (65535, 200)])
def test_32_bit_grey_is_scaled_by_its_range(highest: int, expected: int) -> None:
    grey = np.full((8, 8), highest, np.int32)
    grey[4:] = 200 * (highest + 1) // 256
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "TIFF")
    assert decode_image(buffer.getvalue())[6, 2].tolist() == [expected] * 3
