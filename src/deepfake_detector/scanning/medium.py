"""The first bytes of a file and its name -> whether a scan owes an answer about it."""

from __future__ import annotations

from pathlib import PurePath

from deepfake_detector.scoring.kind import looks_like_image

HEAD_BYTES = 512
# As libav's own probes: MP4 and QuickTime name their first box at byte 4, MPEG-TS marks every packet of 188 bytes (192
# on cameras, behind a time stamp of 4).
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_STARTS = (b"\x1a\x45\xdf\xa3", b"FLV\x01", b"OggS", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"\x00\x00\x01\xba")
_PACKETS = ((0, 188), (4, 196))
_IMAGES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
    ".mpo",
    ".avif",
    ".heic",
    ".heif",
)
_VIDEOS = (
    ".mp4",
    ".m4v",
    ".mov",
    ".3gp",
    ".webm",
    ".mkv",
    ".avi",
    ".mpg",
    ".mpeg",
    ".mts",
    ".m2ts",
    ".flv",
    ".ogv",
    ".wmv",
)


def owes_answer(name: str, head: bytes) -> bool:
    """Whether content or name claim an image or a video.

    Content decides what a file is read as. A name that claims more than the content holds gets an error for an answer:
    whoever sees `a.jpg` in the folder looks for its row.

    Args:
        name: of the file.
        head: its first `HEAD_BYTES`, or all of a shorter one.
    """
    return looks_like_image(head) or looks_like_video(head) or PurePath(name).suffix.lower() in _IMAGES + _VIDEOS


def looks_like_video(head: bytes) -> bool:
    """Whether a file that starts with `head` claims one of the containers that are read."""
    if head[4:8] in _BOXES or head.startswith(_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return True
    return len(head) > _PACKETS[1][1] and any(head[a] == head[b] == 0x47 for a, b in _PACKETS)
