"""One zip file -> names and bytes of what is inside, checked before use; nothing is unpacked to disk."""

from __future__ import annotations

import re
import stat
import zipfile
from pathlib import Path

from deepfake_detector.data.place import METHODS, Place
from deepfake_detector.errors import ArchiveRejected

MAX_ENTRY_BYTES = 64 * 2**20  # a 256x256 picture has 0.03 MiB
MAX_RATIO = 200  # unpacked to packed; pictures are near 1, deflate itself cannot pass 1032
MAX_ENTRIES = 2_000_000
_PLAIN = (0, stat.S_IFREG, stat.S_IFDIR)


class Volume:
    """A zip file that was found safe to open."""

    def __init__(self, path: Path, max_unpacked_bytes: int, name: str = "") -> None:
        """Read and check the table of contents.

        Args:
            path: a zip file.
            max_unpacked_bytes: of all entries together.
            name: what messages call it; the file's own name if empty.

        Raises:
            ArchiveRejected: not a zip, an unsafe entry, or too large.
        """
        self.name = name or path.name
        try:
            with zipfile.ZipFile(path) as table:
                infos = table.infolist()
        except (OSError, zipfile.BadZipFile) as error:
            raise ArchiveRejected(
                f"{self.name} is not a whole zip file: {error}",
                "copy or download it again; a cut download looks like this",
            ) from error
        self._places = _checked(infos, path, self.name, max_unpacked_bytes)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all files inside, in the order they were packed."""
        return tuple(path for path in self._places if not path.endswith("/"))

    def place(self, path: str) -> Place:
        """Where one file lies; all that is needed to read it, in another process too.

        Raises:
            ArchiveRejected: there is no such file.
        """
        if path not in self._places:
            raise ArchiveRejected(f"{path} is not in {self.name}", "run `dvc repro`, which looks at the archive anew")
        return self._places[path]

    def read(self, path: str) -> bytes:
        """The bytes of one file, never more than its declared size.

        Raises:
            ArchiveRejected: it is not there, damaged (checksum, compression), or larger than declared.
        """
        return self.place(path).read()


def _checked(infos: list[zipfile.ZipInfo], file: Path, name: str, max_unpacked_bytes: int) -> dict[str, Place]:
    if len(infos) > MAX_ENTRIES:
        raise ArchiveRejected(f"{name} has {len(infos)} entries, at most {MAX_ENTRIES} are read", "split the archive")
    unpacked, seen = 0, dict[str, Place]()
    for info in infos:
        fault = _fault(info) or ("appears twice" if info.filename in seen else "")
        if fault:
            raise ArchiveRejected(f"entry {info.filename!r} of {name} {fault}", "do not use this archive; pack it anew")
        where = (info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type)
        seen[info.filename] = Place(file, name, info.filename, *where)
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
    if "\x00" in path or "\\" in path or re.match(r"^([A-Za-z]:|/)", path) or ".." in path.split("/"):
        return "climbs out of its folder"
    if stat.S_IFMT(info.external_attr >> 16) not in _PLAIN:
        return "is a link or a device, not a file"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.compress_type not in METHODS:
        return "is compressed in a way that is not read (only stored and deflated are)"
    if info.file_size > MAX_ENTRY_BYTES:
        return f"unpacks to {info.file_size} bytes, at most {MAX_ENTRY_BYTES} are read"
    if info.file_size > MAX_RATIO * max(info.compress_size, 1):
        return f"unpacks to {info.file_size} bytes from {info.compress_size}, more than {MAX_RATIO} times: a zip bomb"
    return ""
