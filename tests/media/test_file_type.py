"""Files are recognized as images or videos by their first bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from deepfake_detector.media.file_type import HEAD_BYTES, looks_like_image, looks_like_video
from deepfake_detector.media.image import FORMATS, ISO_MEDIA_FORMATS


@pytest.mark.parametrize("name", [*FORMATS, *ISO_MEDIA_FORMATS])
def test_every_supported_image_format_is_recognized(name: str) -> None:
    buffer = io.BytesIO()
    image = Image.new("RGB", (16, 16))
    if name == "HEIF":
        pillow_heif.from_pillow(image).save(buffer)
    else:
        image.save(buffer, format=name)
    assert looks_like_image(buffer.getvalue()[:HEAD_BYTES])


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
