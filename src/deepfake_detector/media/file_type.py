"""The first bytes of a file -> what it claims to be; names and declared types are not believed."""

from __future__ import annotations

HEAD_BYTES = 32
_STARTS = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"BM": "image/bmp",
    b"II*\x00": "image/tiff",
    b"MM\x00*": "image/tiff",
}
_RIFF = {b"WEBP": "image/webp", b"AVI ": "video/avi"}
# Brands of ISO media files that hold one picture; "mif1" alone does not tell which codec it is in.
_PICTURES = {b"avif": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heif"}


def mime_of(head: bytes) -> str | None:
    """The media type that a file starting with `head` (`HEAD_BYTES`) claims; None for what is not told apart here."""
    for start, mime in _STARTS.items():
        if head.startswith(start):
            return mime
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _PICTURES.get(head[8:12], "video/quicktime" if head[8:12] == b"qt  " else "video/mp4")
    return None


def looks_like_image(head: bytes) -> bool:
    """Whether a file that starts with `head` claims to be a picture; all else may be a video."""
    return (mime_of(head) or "").startswith("image/")
