from __future__ import annotations

import pytest

from deepfake_detector.serving.errors import PointsElsewhere
from deepfake_detector.serving.upload import refuse_pointers


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd", "HLS"),
        (b"\xef\xbb\xbf\r\n #extm3u", "HLS"),
        ("#EXTM3U\nhttp://a/".encode("utf-16"), "HLS"),
        (b"ffconcat version 1.0\nfile /etc/passwd", "concat"),
        (b"<MPD xmlns='urn:mpeg:dash:schema:mpd:2011'>", "DASH"),
        (b"<?xml version='1.0'?>\n<!-- a -->\n<MPD>", "DASH"),
        (b"<svg onload='x'>", "SVG"),
        (b"<?xml version='1.0'?><!DOCTYPE svg><svg>", "SVG"),
        (b"<!DOCTYPE html><p>", "XML"),
        (b"v=0\r\no=- 0 0 IN IP4 10.0.0.1", "SDP"),
        (b"http://127.0.0.1/a.mp4", "address"),
        (b"[playlist]\nFile1=/etc/passwd", "playlist"),
    ],
)
def test_what_names_other_files_is_refused(head: bytes, what: str) -> None:
    with pytest.raises(PointsElsewhere, match=what):
        refuse_pointers(head)


@pytest.mark.parametrize(
    "head", [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"\0\0\0\x18ftypmp42", b"GIF89a", b"text #EXTM3U"]
)
def test_all_else_is_left_to_the_decoders(head: bytes) -> None:
    refuse_pointers(head)
