from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from deepfake_detector.media.image import encode_png
from deepfake_detector.media.metadata import MAX_TEXT, FileMetadata, clean_text, read_metadata

PIXELS = np.full((32, 48, 3), 90, np.uint8)
EXIF = {
    0x010F: "NIKON CORPORATION",
    0x0110: "NIKON D750",
    0x0131: "Ver.1.10 ",
    0x0132: "2024:05:02 08:00:00",
    0x013B: "A. Photographer",
}
DETAILS = {0x9003: "2024:05:01 12:30:15", 0x9011: "+02:00"}
GPS = {1: "S", 2: (33.0, 30.0, 0.0), 3: "E", 4: (151.0, 15.0, 0.0)}
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmp:CreatorTool="Editor 3" Iptc4xmpExt:DigitalSourceType='
    b'"http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"/></x:xmpmeta>'
)


def encoded(format_name: str = "JPEG", gps: dict[int, object] | None = None, **options: Any) -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif.update(EXIF)
    exif.get_ifd(0x8769).update(DETAILS)
    exif.get_ifd(0x8825).update(GPS if gps is None else gps)
    Image.fromarray(PIXELS).save(buffer, format_name, exif=exif, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
def test_exif_tells_the_camera_the_software_and_the_dates(format_name: str) -> None:
    found = read_metadata(encoded(format_name))
    assert (found.camera, found.software, found.author) == ("NIKON D750", "Ver.1.10", "A. Photographer")
    assert (found.taken_at, found.modified_at) == ("2024-05-01T12:30:15+02:00", "2024-05-02T08:00:00")
    assert found.format is not None
    assert found.format.lower().startswith(format_name.lower())


def test_the_location_is_read_on_request_only() -> None:
    assert read_metadata(encoded()).has_location
    assert read_metadata(encoded()).location_deg is None
    assert read_metadata(encoded(), with_location=True).location_deg == (-33.5, 151.25)


@pytest.mark.parametrize("gps", [{}, {2: (99.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)}, {2: (1.0, 0.0, 0.0)}])
def test_an_impossible_or_partial_location_is_none(gps: dict[int, object]) -> None:
    assert not read_metadata(encoded(gps=gps)).has_location


def test_a_picture_without_metadata_has_its_format_only() -> None:
    assert read_metadata(encode_png(PIXELS)) == FileMetadata(format="PNG image")


def test_xmp_names_the_software_and_ai_as_the_source() -> None:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG", xmp=XMP)
    found = read_metadata(buffer.getvalue())
    assert (found.software, found.made_by_ai) == ("Editor 3", True)


def test_settings_of_an_image_generator_are_found_and_shortened() -> None:
    text, buffer = PngInfo(), io.BytesIO()
    text.add_text("parameters", "a portrait\nSteps: 20, " + "x" * 5000)
    Image.fromarray(PIXELS).save(buffer, "PNG", pnginfo=text)
    settings = read_metadata(buffer.getvalue()).generator_settings
    assert settings is not None
    assert settings.startswith("a portrait Steps: 20")
    assert len(settings) == MAX_TEXT


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\x00\u202eb\n c", "a b c"),
        (b"\xff\xfe caf\xc3\xa9", "\ufffd\ufffd café"),
        ("x" * 300, "x" * (MAX_TEXT - 1) + "…"),
        ("\x00 ", None),
        (None, None),
    ],
)
def test_text_is_one_printable_short_line(value: object, text: str | None) -> None:
    assert clean_text(value) == text


@pytest.mark.parametrize("date", ["0000:00:00 00:00:00", "yesterday", "2024:13:40 99:00:00", "1904:01:01 00:00:00"])
def test_an_impossible_date_is_none(date: str) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0132] = date
    Image.fromarray(PIXELS).save(buffer, "JPEG", exif=exif)
    assert read_metadata(buffer.getvalue()).modified_at is None


def test_a_broken_exif_block_is_no_error() -> None:
    whole = encoded()
    start = whole.index(b"Exif")
    for cut in range(start + 6, start + 120, 7):
        broken = whole[:cut] + bytes(len(whole[cut : start + 200])) + whole[start + 200 :]
        assert read_metadata(broken).format == "JPEG image"


def test_a_video_tells_its_camera_date_and_place(tmp_path: Path) -> None:
    path = tmp_path / "clip.mov"
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata.update(
            {
                "com.apple.quicktime.make": "Apple",
                "com.apple.quicktime.model": "iPhone 15",
                "com.apple.quicktime.software": "17.4",
                "com.apple.quicktime.creationdate": "2024-05-01T12:30:15+0200",
                "com.apple.quicktime.location.ISO6709": "+52.5163+013.3777+034.000/",
            }
        )
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(PIXELS, format="rgb24")))
        container.mux(stream.encode())
    found = read_metadata(path, with_location=True)
    assert (found.camera, found.software, found.format) == ("Apple iPhone 15", "17.4", "QuickTime video")
    assert found.taken_at == "2024-05-01T12:30:15+02:00"
    assert found.location_deg == (52.5163, 13.3777)
    assert read_metadata(path).location_deg is None
    assert read_metadata(path).has_location


def test_a_file_that_is_no_video_has_no_metadata(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"junk" * 99)
    assert read_metadata(path) == FileMetadata()


def test_an_animation_read_as_a_video_has_the_metadata_of_an_image(tmp_path: Path) -> None:
    path = tmp_path / "x.webp"
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    exif = Image.Exif()
    exif.update(EXIF)
    frames[0].save(path, "WEBP", save_all=True, append_images=frames[1:], exif=exif)
    assert read_metadata(path).camera == "NIKON D750"


def test_damaged_files_are_no_error() -> None:
    rng = np.random.default_rng(0)
    for whole in (encoded("JPEG", xmp=XMP), encoded("PNG"), encoded("WEBP"), encoded("TIFF")):
        for _ in range(100):
            damaged = bytearray(whole)
            for at in rng.integers(0, min(len(whole), 700), 6):
                damaged[at] = int(rng.integers(0, 256))
            found = read_metadata(bytes(damaged), with_location=True)
            texts = [value for value in vars(found).values() if isinstance(value, str)]
            assert all(len(text) <= MAX_TEXT and text.isprintable() for text in texts)
