"""A zip, or a folder with one zip per source -> its pictures and their bytes; how archives are written."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from deepfake_detector.data.layout import LABELS, PICTURES, ROOT, SPLITS, TABLE, Entry, find_pictures, read_table
from deepfake_detector.data.place import Place
from deepfake_detector.data.volume import MAX_ENTRY_BYTES, Volume
from deepfake_detector.errors import ArchiveRejected

__all__ = [
    "LABELS", "MAX_ENTRY_BYTES", "PICTURES", "ROOT", "SPLITS",
    "Archive", "Entry", "pack", "sha256_of", "written_whole",
]  # fmt: skip
_UNDATED = (1980, 1, 1, 0, 0, 0)  # the zip format's own zero


class Archive:
    """Pictures that were found safe to open; the end of a `with` block lets go of the tables of contents.

    Attributes:
        entries: sorted by path. In a folder, `faces.zip` gives paths that begin with `faces/` and the source `faces`,
            so that a path names one picture across all sources.
        root: the folder inside a zip that holds the splits; "" where a table gives them, and for a folder.
    """

    def __init__(self, path: Path, max_unpacked_bytes: int, name: str = "") -> None:
        """Open and check the tables of contents.

        Args:
            path: a zip file, or a folder of zip files.
            max_unpacked_bytes: of all entries of one zip together.
            name: what messages call a zip; the file's own name if empty.

        Raises:
            ArchiveRejected: not a zip, an unsafe entry, too large, or no picture in a known layout.
        """
        self._volumes: dict[str, Volume] = {}
        self.root, entries = "", list[Entry]()
        for prefix, file in _files(path).items():
            volume = self._volumes[prefix] = Volume(file, max_unpacked_bytes, name)
            self.root, inside = _entries(volume)
            entries += [_placed(entry, prefix) for entry in inside] if prefix else inside
        self.entries = tuple(sorted(entries, key=lambda entry: entry.path))

    def read(self, entry: Entry) -> bytes:
        """The bytes of one picture, never more than its declared size.

        Raises:
            ArchiveRejected: the entry is damaged (checksum, compression) or larger than declared.
        """
        return self.place(entry).read()

    def place(self, entry: Entry) -> Place:
        """Where a picture lies; all that is needed to read it, in another process too."""
        volume, path = self._find(entry.path)
        return volume.place(path)

    def counts(self) -> dict[str, dict[str, int]]:
        """Pictures per split and label."""
        names = {number: name for name, number in LABELS.items()}
        table = {split: dict.fromkeys(LABELS, 0) for split in SPLITS}
        for entry in self.entries:
            table[entry.split][names[entry.label]] += 1
        return table

    def close(self) -> None:
        """Let go of the tables of contents, the only thing that is long; no file is held open."""
        self._volumes.clear()

    def _find(self, path: str) -> tuple[Volume, str]:
        if "" in self._volumes:
            return self._volumes[""], path
        source, _, inner = path.partition("/")
        return self._volumes[source], inner

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _files(path: Path) -> dict[str, Path]:
    if not path.is_dir():
        return {"": path}
    files = {file.stem: file for file in sorted(path.glob("*.zip"))}
    if not files:
        raise ArchiveRejected(f"no archive lies in {path}", "run `dvc repro download`")
    return files


def _entries(volume: Volume) -> tuple[str, tuple[Entry, ...]]:
    if TABLE in volume.names:
        return "", read_table(volume.read(TABLE), frozenset(volume.names), volume.name)
    return find_pictures(volume.names, volume.name)


def _placed(entry: Entry, source: str) -> Entry:
    group = f"{source}/{entry.group}" if entry.group else ""
    return replace(entry, path=f"{source}/{entry.path}", group=group, source=source)


def pack(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write (name, bytes) pairs into a zip: stored, undated, so that the same files give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files:
            entry = zipfile.ZipInfo(name, _UNDATED)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.create_system = 3  # the same bytes on every system
            archive.writestr(entry, data)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place only if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield fresh
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
