"""First bytes of a file -> the media type that they announce; names and declared types are ignored."""

from __future__ import annotations

HEAD_BYTES = 512
_SIGNATURES = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"BM": "image/bmp",
    b"II*\x00": "image/tiff",
    b"MM\x00*": "image/tiff",
}
_RIFF = {b"WEBP": "image/webp", b"AVI ": "video/avi"}
# Brands of ISO media files that hold one image; "mif1" alone does not say which codec.
_ISO_IMAGES = {b"avif": "image/avif", b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heif"}
# As libav's own probes: MP4 and QuickTime name their first box at byte 4, MPEG-TS marks every packet of 188 bytes (192
# on cameras, after a time stamp of 4).
_VIDEO_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_VIDEO_SIGNATURES = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"OggS",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"\x00\x00\x01\xba",  # MPEG program stream
)
_PACKET_STARTS = ((0, 188), (4, 196))


def mime_of(head: bytes) -> str | None:
    """The media type of a file that starts with `head` (`HEAD_BYTES` bytes); None if unknown."""
    for signature, mime in _SIGNATURES.items():
        if head.startswith(signature):
            return mime
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _ISO_IMAGES.get(head[8:12], "video/quicktime" if head[8:12] == b"qt  " else "video/mp4")
    return None


def looks_like_image(head: bytes) -> bool:
    """Whether a file that starts with `head` announces an image; anything else may be a video."""
    return (mime_of(head) or "").startswith("image/")


def looks_like_video(head: bytes) -> bool:
    """Whether a file that starts with `head` announces one of the supported video containers."""
    if (
        head[4:8] in _VIDEO_BOXES
        or head.startswith(_VIDEO_SIGNATURES)
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
    ):
        return True
    return len(head) > _PACKET_STARTS[1][1] and any(head[a] == head[b] == 0x47 for a, b in _PACKET_STARTS)
