"""Files are recognized as images or videos by their first bytes."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from deepfake_detector.errors import UnreadableImage, UnreadableVideo
from deepfake_detector.inference.detector import is_image
from deepfake_detector.media.file_type import HEAD_BYTES, looks_like_image, looks_like_video, mime_of
from deepfake_detector.media.image import FORMATS, ISO_MEDIA_FORMATS, decode_image
from deepfake_detector.media.video import probe_video
from deepfake_detector.scanning.discovery import is_media_file


def encoded(name: str) -> bytes:
    """A small image of a format."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.arange(32 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(32, 32, 3))
    if name == "HEIF":
        pillow_heif.from_pillow(image).save(buffer)
    else:
        image.save(buffer, format=name)
    return buffer.getvalue()


@pytest.mark.parametrize("name", [*FORMATS, *ISO_MEDIA_FORMATS])
def test_every_supported_image_format_is_recognized(name: str) -> None:
    assert looks_like_image(encoded(name)[:HEAD_BYTES])


def test_videos_text_and_empty_files_are_not_images(clip: Path) -> None:
    with clip.open("rb") as stream:
        assert not looks_like_image(stream.read(HEAD_BYTES))
    assert not looks_like_image(b"RIFF\x00\x00\x00\x00AVI LIST")
    assert not looks_like_image(b"hello, this is text")
    assert not looks_like_image(b"")


@pytest.mark.parametrize("name", ["two.mp4", "two.mkv", "two.avi", "two.mpg", "two.ts", "two.flv", "two.mov"])
def test_video_containers_are_recognised_by_content(tmp_path: Path, name: str) -> None:
    import av

    codec = {"two.mpg": "mpeg1video", "two.flv": "flv"}.get(name, "mpeg4")
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 90, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert looks_like_video((tmp_path / name).read_bytes()[:HEAD_BYTES])


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\xff\x0a" + bytes(20), "a JPEG XL image"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(20), "a JPEG XL image"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(20), "a JPEG 2000 image"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg">', "an SVG drawing"),
        (b"<svg viewBox='0 0 1 1'>", "an SVG drawing"),
        (b"P6\n4 4\n255\n" + bytes(48), "a PNM image (PBM, PGM or PPM)"),
        (b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom", "a Canon camera raw file"),
        (b"IIU\x00" + bytes(20), "a Panasonic camera raw file"),
        (b"8BPS" + bytes(20), "a Photoshop document"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
    ],
)
def test_formats_that_are_not_read_are_refused_by_name(tmp_path: Path, head: bytes, name: str) -> None:
    """The same name from an image decoder, from a video decoder and from a file."""
    path = tmp_path / "upload"
    path.write_bytes(head)
    with pytest.raises(UnreadableImage, match=re.escape(f"this is {name}")):
        decode_image(head)
    with pytest.raises(UnreadableVideo, match=re.escape(f"upload is {name}, not a video")):
        probe_video(path)
    assert is_image(path)
    assert mime_of(head) is None


def test_a_video_uploaded_as_an_image_is_refused_by_name(clip: Path) -> None:
    with pytest.raises(UnreadableImage, match="this is an MP4 video"):
        decode_image(clip.read_bytes())


@pytest.mark.parametrize("name", ["JPEG", "PNG", "BMP", "WEBP", "AVIF", "HEIF"])
def test_an_image_uploaded_as_a_video_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "upload"
    path.write_bytes(encoded(name))
    with pytest.raises(UnreadableVideo, match="image, not a video"):
        probe_video(path)


@pytest.mark.parametrize(
    "brand", ["heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "mif2", "msf1", "miaf", "abcd"]
)
def test_every_brand_of_heif_is_an_image_at_all_entrances(tmp_path: Path, brand: str) -> None:
    data = encoded("HEIF")
    branded = data[:8] + brand.encode() + data[12:]
    path = tmp_path / "upload"
    path.write_bytes(branded)
    assert is_image(path)
    assert is_media_file("upload", branded[:HEAD_BYTES])
    assert (mime_of(branded[:HEAD_BYTES]) or "").startswith("image/hei")
    np.testing.assert_array_equal(decode_image(branded), decode_image(data))


@pytest.mark.parametrize("brand", ["avif", "avis", "mif1", "mif2", "msf1", "miaf"])
def test_every_brand_of_avif_is_an_image(brand: str) -> None:
    data = encoded("AVIF")
    branded = data[:8] + brand.encode() + data[12:]
    assert looks_like_image(branded[:HEAD_BYTES])
    np.testing.assert_array_equal(decode_image(branded), decode_image(data))


@pytest.mark.parametrize("brand", [b"isom", b"mp42", b"M4V ", b"3gp5", b"qt  ", b"avc1", b"dash"])
def test_brands_of_videos_stay_videos_though_an_image_brand_is_compatible(brand: bytes) -> None:
    assert looks_like_video(b"\x00\x00\x00\x18ftyp" + brand + b"\x00\x00\x00\x00isommif1")


@pytest.mark.parametrize("head", [b"II+\x00\x08\x00\x00\x00" + bytes(20), b"MM\x00+\x00\x08\x00\x00" + bytes(20)])
def test_bigtiff_is_an_image(head: bytes) -> None:
    assert looks_like_image(head)
    assert mime_of(head) == "image/tiff"


def test_archives_and_documents_have_no_row_in_a_scan() -> None:
    for head in (b"PK\x03\x04", b"%PDF-1.4", b"<html>", b"RIFF\x00\x00\x00\x00WAVEfmt "):
        assert not is_media_file("file", head)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x01\x67\x42\0\x1e" + bytes(20), "a raw H.264 stream"),
        (b"\0\0\x01\x27\x42\0\x1e" + bytes(20), "a raw H.264 stream"),
        (b"\0\0\0\x01\x06\x05\xff\xff\x42" + bytes(20), "a raw H.264 stream"),
        (b"\0\0\0\x01\x09\xf0\0\0\0\x01\x67" + bytes(20), "a raw H.264 stream"),
        (b"\0\0\0\x01\x40\x01\x0c\x01" + bytes(20), "a raw H.265 stream"),
        (b"\0\0\x01\xb3\x1e\x01" + bytes(20), "a raw MPEG video stream"),
        (b"DKIF\0\0 \0VP80" + bytes(20), "an IVF video"),
        (b"YUV4MPEG2 W4 H4\n" + bytes(20), "an uncompressed YUV4MPEG2 video"),
        (b"\x06\x0e\x2b\x34\x02\x05\x01\x01" + bytes(20), "an MXF video"),
        (b"\x1f\x07\0\xbf" + bytes(200), "a raw DV stream"),
    ],
)
def test_videos_that_are_not_read_are_refused_by_name_with_a_way_out(tmp_path: Path, head: bytes, name: str) -> None:
    path = tmp_path / "upload"
    path.write_bytes(head)
    assert not is_image(path)
    with pytest.raises(UnreadableVideo, match=re.escape(f"upload is {name}, which is not read here")) as caught:
        probe_video(path)
    assert "-c copy" in caught.value.hint
    with pytest.raises(UnreadableImage, match=re.escape(f"this is {name}, not an image")):
        decode_image(head)


@pytest.mark.parametrize("brand", [b"msf1", b"hevc"])
def test_a_heif_sequence_without_an_image_is_a_video_at_all_entrances(clip: Path, tmp_path: Path, brand: bytes) -> None:
    """Frames in a track, as in MP4; a file with the same brand and an image of its own stays an image."""
    data = clip.read_bytes()
    path = tmp_path / "upload"
    path.write_bytes(data[:8] + brand + data[12:])
    assert not is_image(path)
    assert probe_video(path).duration_s == pytest.approx(2.0)
    with pytest.raises(UnreadableImage, match="which is read as a video"):
        decode_image(path.read_bytes())


def test_an_avif_image_beyond_the_limit_of_its_decoder_is_no_heif_image() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 40_000)).save(buffer, "AVIF")
    with pytest.raises(UnreadableImage, match="this is an AVIF image of a form that is not read here, or broken"):
        decode_image(buffer.getvalue())


def test_a_tiff_image_of_a_form_that_is_not_read_is_named() -> None:
    with pytest.raises(UnreadableImage, match="this is a TIFF image of a form"):
        decode_image(b"II*\0\x08\0\0\0" + bytes(30))
