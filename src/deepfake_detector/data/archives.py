"""A zip in the Kaggle layout -> its picture entries, checked before use, and their bytes; nothing is unpacked."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

from deepfake_detector.errors import ArchiveRejected

ROOT = "real_vs_fake/real-vs-fake"
SPLITS = ("train", "valid", "test")
LABELS = {"real": 0, "fake": 1}  # the opposite of Kaggle's CSV files, where 1 is real
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
MAX_ENTRY_BYTES = 64 * 2**20  # a 256x256 picture has 0.03 MiB
MAX_RATIO = 200  # unpacked to packed; pictures are near 1, deflate itself cannot pass 1032
MAX_ENTRIES = 2_000_000
_UNDATED = (1980, 1, 1, 0, 0, 0)  # the zip format's own zero
_PLAIN = (0, stat.S_IFREG, stat.S_IFDIR)


@dataclass(frozen=True)
class Entry:
    """One picture inside the archive. `label` is 1 for fake and 0 for real."""

    path: str
    split: str
    label: int

    @property
    def inner(self) -> str:
        """The path below the root: split/label/name."""
        return "/".join(self.path.split("/")[-3:])


class Archive:
    """An archive that was found safe to open; close it, or use it in a `with` block."""

    def __init__(self, path: Path, max_unpacked_bytes: int, name: str = "") -> None:
        """Open and check the table of contents.

        Args:
            path: a zip file.
            max_unpacked_bytes: of all entries together.
            name: what messages call it; the file's own name if empty.

        Raises:
            ArchiveRejected: not a zip, an unsafe entry, too large, or no picture in the Kaggle layout.
        """
        self.name = name or path.name
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise ArchiveRejected(
                f"{self.name} is not a whole zip file: {error}",
                "copy or download it again; a cut download looks like this",
            ) from error
        try:
            self._infos = _checked(self._zip.infolist(), self.name, max_unpacked_bytes)
            self.root, self.entries = _pictures(self._infos, self.name)
        except ArchiveRejected:
            self._zip.close()
            raise

    def read(self, entry: Entry) -> bytes:
        """The bytes of one picture, never more than its declared size.

        Raises:
            ArchiveRejected: the entry is damaged (checksum, compression) or larger than declared.
        """
        info = self._infos[entry.path]
        try:
            with self._zip.open(info) as stream:
                data = stream.read(info.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise ArchiveRejected(
                f"{entry.path} in {self.name} cannot be read: {error}", "copy or download the archive again"
            ) from error
        if len(data) != info.file_size:
            raise ArchiveRejected(
                f"{entry.path} in {self.name} has {len(data)} bytes, its table of contents says {info.file_size}",
                "do not use this archive: its sizes are forged, as in a zip bomb",
            )
        return data

    def counts(self) -> dict[str, dict[str, int]]:
        """Pictures per split and label."""
        names = {number: name for name, number in LABELS.items()}
        table = {split: dict.fromkeys(LABELS, 0) for split in SPLITS}
        for entry in self.entries:
            table[entry.split][names[entry.label]] += 1
        return table

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _checked(infos: list[zipfile.ZipInfo], name: str, max_unpacked_bytes: int) -> dict[str, zipfile.ZipInfo]:
    if len(infos) > MAX_ENTRIES:
        raise ArchiveRejected(f"{name} has {len(infos)} entries, at most {MAX_ENTRIES} are read", "split the archive")
    unpacked, seen = 0, {}
    for info in infos:
        fault = _fault(info) or ("appears twice" if info.filename in seen else "")
        if fault:
            raise ArchiveRejected(f"entry {info.filename!r} of {name} {fault}", "do not use this archive; pack it anew")
        seen[info.filename] = info
        unpacked += info.file_size
    if unpacked > max_unpacked_bytes:
        raise ArchiveRejected(
            f"{name} unpacks to {unpacked / 2**30:.2f} GiB, the limit is {max_unpacked_bytes / 2**30:.2f} GiB",
            "raise download.max_unpacked_gib in params.yaml if the archive is trusted",
        )
    return seen


def _fault(info: zipfile.ZipInfo) -> str:
    """Why an entry is refused, or an empty string."""
    # zipfile mends names on reading ("\\" on Windows, a NUL byte cut off): judge what the file really says.
    path = info.orig_filename
    if "\x00" in path or "\\" in path or re.match(r"^([A-Za-z]:|/)", path) or ".." in PurePosixPath(path).parts:
        return "climbs out of its folder"
    if stat.S_IFMT(info.external_attr >> 16) not in _PLAIN:
        return "is a link or a device, not a file"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.file_size > MAX_ENTRY_BYTES:
        return f"unpacks to {info.file_size} bytes, at most {MAX_ENTRY_BYTES} are read"
    if info.file_size > MAX_RATIO * max(info.compress_size, 1):
        return f"unpacks to {info.file_size} bytes from {info.compress_size}, more than {MAX_RATIO} times: a zip bomb"
    return ""


def _pictures(infos: dict[str, zipfile.ZipInfo], name: str) -> tuple[str, tuple[Entry, ...]]:
    """The folder that holds the splits, and its pictures sorted by path."""
    found: dict[str, list[Entry]] = {}
    for path in sorted(infos):
        *above, split, label, file = ("", "", "", *path.split("/"))[-max(path.count("/") + 1, 3) :]
        hidden = file.startswith(".") or "__MACOSX" in above  # what Finder adds to every zip
        if split in SPLITS and label in LABELS and Path(file).suffix.lower() in PICTURES and not hidden:
            found.setdefault("/".join(above), []).append(Entry(path, split, LABELS[label]))
    root = ROOT if ROOT in found else next(iter(found), "")
    if not found or (len(found) > 1 and root != ROOT):
        seen = sorted(found) or sorted({"/".join(path.split("/")[:4]) for path in infos})[:8]
        raise ArchiveRejected(
            f"{name} must hold pictures under one {ROOT}/{{train,valid,test}}/{{real,fake}}; it holds {seen}",
            "rename the folders inside it to that layout",
        )
    return root, tuple(found[root])


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
