"""Folder -> its files below, one at a time, in no order; links, loops and locked folders do not stop it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


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
