from __future__ import annotations

import io
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from deepfake_detector.media.file_type import HEAD_BYTES, looks_like_image
from deepfake_detector.media.image import BOXED_FORMATS, FORMATS


@pytest.mark.parametrize("name", [*FORMATS, *BOXED_FORMATS])
def test_every_format_the_reader_takes_is_known_by_its_first_bytes(name: str) -> None:
    file = io.BytesIO()
    picture = Image.new("RGB", (16, 16))
    if name == "HEIF":
        pillow_heif.from_pillow(picture).save(file)
    else:
        picture.save(file, format=name)
    assert looks_like_image(file.getvalue()[:HEAD_BYTES])


def test_videos_text_and_nothing_are_no_pictures(clip: Path) -> None:
    with clip.open("rb") as stream:
        assert not looks_like_image(stream.read(HEAD_BYTES))
    assert not looks_like_image(b"RIFF\x00\x00\x00\x00AVI LIST")
    assert not looks_like_image(b"hello, this is text")
    assert not looks_like_image(b"")
