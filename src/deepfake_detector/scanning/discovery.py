"""A folder -> the files below it (size in bytes, time in ns), and whether a file counts as an image or a video."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from deepfake_detector.media.file_type import looks_like_image, looks_like_video

_IMAGE_SUFFIXES = (
    ".jpg .jpeg .jpe .jfif .png .apng .webp .bmp .tif .tiff .gif .mpo .avif .avifs .heic .heif .heics"
    " .dng .cr2 .nef .arw .pef .orf .raf"
)
_VIDEO_SUFFIXES = ".mp4 .m4v .mov .3gp .webm .mkv .avi .mpg .mpeg .mts .m2ts .flv .ogv .wmv"
MEDIA_SUFFIXES = frozenset(f"{_IMAGE_SUFFIXES} {_VIDEO_SUFFIXES}".split())


@dataclass(frozen=True)
class FoundFile:
    """A file, or a folder or link that cannot be read (`problem` says why).

    Attributes:
        name: path below the scanned folder, as the system spells it; bytes that are not UTF-8 as surrogates.
        bytes: size.
        mtime_ns: time of the last change; a file with the same size and time counts as unchanged.
        etag: of an object in a store, which then counts instead of the time.
    """

    name: str
    bytes: int = 0
    mtime_ns: int = 0
    problem: str = ""
    etag: str = ""

    @property
    def version(self) -> str:
        """What tells an unchanged file of the same size from a changed one."""
        return f"etag {self.etag}" if self.etag else str(self.mtime_ns)


def file_id(found: FoundFile) -> str:
    """Digest of name, size and version, 32 hex digits: the same for the same file in every scan."""
    key = b"\0".join((os.fsencode(found.name), str(found.bytes).encode(), found.version.encode()))
    return hashlib.blake2b(key, digest_size=16).hexdigest()


def find_files(folder: Path, follow_links: bool = False) -> Iterator[FoundFile]:
    """Find all regular files below a folder; memory grows with open folders, not with files.

    Args:
        folder: an existing folder.
        follow_links: also enter linked folders, each real folder once, so that loops end. Links to files are always
            followed.
    """
    entered: set[tuple[int, int]] = set()
    pending = [""]
    while pending:
        inside = pending.pop()
        try:
            if follow_links and not _is_new(folder / inside, entered):
                continue
            with os.scandir(folder / inside) as entries:
                for entry in entries:
                    name = f"{inside}/{entry.name}" if inside else entry.name
                    if entry.is_dir(follow_symlinks=False) or (follow_links and _links_to_folder(entry)):
                        pending.append(name)
                    elif (found := _regular_file(name, entry)) is not None:
                        yield found
        except OSError as error:
            yield FoundFile(inside or ".", problem=f"the folder cannot be read: {error.strerror or error}")


def is_media_file(name: str, head: bytes) -> bool:
    """Whether a scan has a row for this file: its content or its name says that it is an image or a video.

    The content decides how a file is read. A file with a media suffix and other content gets a row with an error.

    Args:
        name: of the file.
        head: its first `file_type.HEAD_BYTES`, or all of a shorter file.
    """
    return looks_like_image(head) or looks_like_video(head) or PurePath(name).suffix.lower() in MEDIA_SUFFIXES


def _is_new(folder: Path, entered: set[tuple[int, int]]) -> bool:
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in entered:
        return False
    entered.add(identity)
    return True


def _links_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # a link to itself
        return False


def _regular_file(name: str, entry: os.DirEntry[str]) -> FoundFile | None:
    """A regular file, linked or not; None for sockets, pipes, devices and links to folders."""
    try:
        status = entry.stat()
    except OSError as error:
        return FoundFile(name, problem=f"the file cannot be read: {error.strerror or error}")
    return FoundFile(name, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None
