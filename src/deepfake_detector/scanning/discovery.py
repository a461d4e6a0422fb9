"""The first bytes of a file and its name -> whether a scan owes an answer about it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from deepfake_detector.media.file_type import looks_like_image

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


@dataclass(frozen=True)
class Found:
    """A file, or a folder or link that could not be entered (`problem` says why).

    Attributes:
        name: from the folder that is walked, as the system spells it; bytes that are no UTF-8 as surrogates.
        bytes: size.
        mtime_ns: when it was last written; with the size it tells whether the file changed.
    """

    name: str
    bytes: int = 0
    mtime_ns: int = 0
    problem: str = ""


def walk(folder: Path, follow_links: bool = False) -> Iterator[Found]:
    """Find all regular files below a folder; memory grows with open folders, not with files.

    Args:
        folder: an existing folder.
        follow_links: enter linked folders too, each real folder once, so that loops end. Links to files are followed
            always, as they bring one file each.
    """
    entered: set[tuple[int, int]] = set()
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            if follow_links and not _first_time(folder / inside, entered):
                continue
            with os.scandir(folder / inside) as entries:
                for entry in entries:
                    name = f"{inside}/{entry.name}" if inside else entry.name
                    if entry.is_dir(follow_symlinks=False) or (follow_links and _leads_to_folder(entry)):
                        waiting.append(name)
                    elif (found := _file(name, entry)) is not None:
                        yield found
        except OSError as error:
            yield Found(inside or ".", problem=f"the folder cannot be read: {error.strerror or error}")


def _first_time(folder: Path, entered: set[tuple[int, int]]) -> bool:
    found = folder.stat()
    identity = (found.st_dev, found.st_ino)
    if identity in entered:
        return False
    entered.add(identity)
    return True


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # a link to itself
        return False


def _file(name: str, entry: os.DirEntry[str]) -> Found | None:
    """A regular file, however it is reached; None for sockets, pipes, devices and links to folders."""
    try:
        found = entry.stat()
    except OSError as error:
        return Found(name, problem=f"the file cannot be read: {error.strerror or error}")
    return Found(name, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None
