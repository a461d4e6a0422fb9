"""The first bytes of an upload -> whether it is a playlist, script or drawing that names other files and hosts.

libav is told to open none of these and Pillow knows no SVG; here they are refused before any decoder sees a byte.
"""

from __future__ import annotations

from deepfake_detector.serving.refusals import PointsElsewhere

HEAD_BYTES = 4096
_BLANK = b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"  # byte order marks and white space may stand before text
_STARTS = {
    b"#extm3u": "an HLS playlist",
    b"ffconcat": "a concat script",
    b"<mpd": "a DASH playlist",
    b"<smoothstreamingmedia": "a Smooth Streaming playlist",
    b"<svg": "an SVG drawing",
    b"[playlist]": "a playlist",
    b"v=0\r": "a session description (SDP)",
    b"v=0\n": "a session description (SDP)",
    b"rtsp://": "an address",
    b"http://": "an address",
    b"https://": "an address",
    b"file:": "an address",
}
_INSIDE_XML = {b"<svg": "an SVG drawing", b"<mpd": "a DASH playlist", b"<smoothstreamingmedia": "a playlist"}


def refuse_pointers(head: bytes) -> None:
    """Look at the first HEAD_BYTES of a file.

    Raises:
        PointsElsewhere: it is text that names other files.
    """
    # UTF-16 becomes readable by leaving out its zero bytes; no picture or video starts with such words.
    text = head.lstrip(_BLANK).replace(b"\0", b"").lower()
    found = next((what for start, what in _STARTS.items() if text.startswith(start)), None)
    if found is None and text.startswith((b"<?xml", b"<!--", b"<!doctype")):
        found = next((what for mark, what in _INSIDE_XML.items() if mark in text), "an XML document")
    if found is not None:
        raise PointsElsewhere(
            f"the upload is {found}; what it names is not fetched", "send the picture or the video itself"
        )
