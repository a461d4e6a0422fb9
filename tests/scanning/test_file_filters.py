from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media.image import encode_jpeg, encode_png
from deepfake_detector.scanning.discovery import HEAD_BYTES, looks_like_video, owes_answer


def test_content_decides_and_names_are_believed_only_when_they_promise_more(
    red_portrait: NDArray[np.uint8], clip: Path
) -> None:
    for data in (encode_jpeg(red_portrait), encode_png(red_portrait), clip.read_bytes()):
        assert owes_answer("notes.txt", data[:HEAD_BYTES])
    assert owes_answer("holiday.JPG", b"plain text")
    assert owes_answer("holiday.mp4", b"")
    for name in ("notes.txt", "README", "a.csv", "a.mp3", "a.py"):
        assert not owes_answer(name, b"plain text, long enough to hold a head of many bytes" * 20)


@pytest.mark.parametrize("name", ["two.mp4", "two.mkv", "two.avi", "two.mpg", "two.ts", "two.flv", "two.mov"])
def test_containers_are_told_by_content(tmp_path: Path, name: str) -> None:
    import av

    codec = {"two.mpg": "mpeg1video", "two.flv": "flv"}.get(name, "mpeg4")
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 90, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert looks_like_video((tmp_path / name).read_bytes()[:HEAD_BYTES])
