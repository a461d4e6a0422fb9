"""The first bytes of a file -> whether to read it as an image; names and declared types are not believed."""

from __future__ import annotations

HEAD_BYTES = 16
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*")


def looks_like_image(head: bytes) -> bool:
    """Whether a file that starts with `head` (at least 12 bytes) claims to be a picture; all else may be a video."""
    return head.startswith(_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
