"""A zip file -> its table of contents, checked before a byte is unpacked, and its files; names and bytes -> a zip."""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepfake_detector.errors import ArchiveRejected

COMPRESSION_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
MAX_MEMBER_BYTES = 64 * 2**20  # a 256x256 image has 0.03 MiB
MAX_COMPRESSION_RATIO = 200  # images are near 1, deflate itself cannot exceed 1032
MAX_MEMBERS = 2_000_000
_LOCAL_HEADER = struct.Struct("<4s22sHH")  # signature, fields of the central directory, lengths of name and extra
_FILE_TYPES = (0, stat.S_IFREG, stat.S_IFDIR)
# What zipfile raises for broken files, among them a name that is not the UTF-8 it claims to be (ValueError), a version
# from the future (NotImplementedError) and cut extra fields (struct.error).
UNREADABLE_ZIP = (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, struct.error, OverflowError)
_NO_DATE = (1980, 1, 1, 0, 0, 0)  # the zip format's zero
# Beside its name a file takes 37 bytes. An object for each would take 400, 4 GB for ten million pictures.
_POSITIONS = np.dtype(
    [("header_offset", "<i8"), ("compressed_bytes", "<i8"), ("size_bytes", "<i8"), ("crc", "<u4"), ("method", "u1")]
)


class SafeZip:
    """A zip file whose table of contents passed the checks. No file is held open.

    Attributes:
        name: of the zip in messages.
        names: paths of all files inside, in the order of the zip.
    """

    def __init__(
        self, path: Path, max_unpacked_bytes: int, name: str = "", max_member_bytes: int = MAX_MEMBER_BYTES
    ) -> None:
        """Read and check the table of contents.

        Args:
            path: a zip file.
            max_unpacked_bytes: of all members together.
            name: of the zip in messages; its file name if empty.
            max_member_bytes: of one member.

        Raises:
            ArchiveRejected: not a zip, an unsafe member, or too large.
        """
        self.name, self._path = name or path.name, path
        try:
            with zipfile.ZipFile(path) as file:
                infos = file.infolist()
        except UNREADABLE_ZIP as error:
            raise ArchiveRejected(
                f"{self.name} is not a complete zip file: {error}",
                "copy or download it again; the last download may have been interrupted",
            ) from error
        _check_members(infos, path.stat().st_size, self.name, max_unpacked_bytes, max_member_bytes)
        files = [info for info in infos if not info.filename.endswith("/")]
        self.names = tuple(info.filename for info in files)
        self._positions = np.array([_position(info) for info in files], _POSITIONS)
        self._order = np.array(sorted(range(len(files)), key=self.names.__getitem__), np.uint32)  # by name

    def member(self, path: str) -> ZipMember:
        """The position of one file, with which another process can read it.

        Raises:
            ArchiveRejected: there is no such file.
        """
        at = bisect_left(self._order, path, key=self.names.__getitem__)
        row = int(self._order[at]) if at < len(self._order) else -1
        if row < 0 or self.names[row] != path:
            raise ArchiveRejected(f"{path} is not in {self.name}", "run `dvc repro`, which reads the archive again")
        return ZipMember(self._path, self.name, self.names[row], *self._positions[row].item())

    def read(self, path: str) -> bytes:
        """The bytes of one file; see `ZipMember.read`."""
        return self.member(path).read()


@dataclass(frozen=True, slots=True)
class ZipMember:
    """The position of one file in a zip, as the table of contents states it; can be pickled.

    Attributes:
        zip_path: of the zip.
        zip_name: of the zip in messages.
        path: of the file, in the zip.
        header_offset: of its local header, bytes from the beginning of the zip.
        compressed_bytes, size_bytes: its size in the zip and unpacked.
        crc: CRC-32 of its bytes.
        method: one of `COMPRESSION_METHODS`.
    """

    zip_path: Path
    zip_name: str
    path: str
    header_offset: int
    compressed_bytes: int
    size_bytes: int
    crc: int
    method: int

    @property
    def fingerprint(self) -> str:
        """Size and checksum, which change with the content."""
        return f"{self.size_bytes}:{self.crc:08x}"

    def read(self) -> bytes:
        """The bytes of the file, never more than its declared size.

        Raises:
            ArchiveRejected: it is damaged (checksum, compression) or larger than declared.
        """
        try:
            data = self._decompress(self._read_compressed())
        except (OSError, EOFError, zlib.error) as error:
            raise self._unreadable(str(error)) from error
        if len(data) != self.size_bytes:
            raise ArchiveRejected(
                f"{self.path} in {self.zip_name} unpacks to another size than the declared {self.size_bytes} bytes",
                "do not use this archive: it is damaged, or its sizes are forged, as in a zip bomb",
            )
        if zlib.crc32(data) != self.crc:
            raise self._unreadable("its bytes do not have the CRC-32 of the table of contents")
        return data

    def _read_compressed(self) -> bytes:
        with self.zip_path.open("rb") as file:
            file.seek(self.header_offset)
            header = file.read(_LOCAL_HEADER.size)
            if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
                raise EOFError("no file begins where the table of contents says")
            _, _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
            file.seek(name_bytes + extra_bytes, 1)
            return file.read(self.compressed_bytes)

    def _decompress(self, compressed: bytes) -> bytes:
        if self.method == zipfile.ZIP_STORED:
            return compressed
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(compressed, self.size_bytes + 1)

    def _unreadable(self, reason: str) -> ArchiveRejected:
        return ArchiveRejected(
            f"{self.path} in {self.zip_name} cannot be read: {reason}", "copy or download the archive again"
        )


def write_zip(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write (name, bytes) pairs into a zip, uncompressed and undated, so that the same files give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name, _NO_DATE)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.create_system = 3  # the same bytes on every system
            archive.writestr(info, data)


def _position(info: zipfile.ZipInfo) -> tuple[int, int, int, int, int]:
    """The fields of `_POSITIONS`."""
    return info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type


def _check_members(
    infos: list[zipfile.ZipInfo], zip_bytes: int, name: str, max_unpacked_bytes: int, max_member_bytes: int
) -> None:
    if len(infos) > MAX_MEMBERS:
        raise ArchiveRejected(
            f"{name} has {len(infos)} entries, at most {MAX_MEMBERS} are read",
            "split it into several zips: `location` may be a list of them (docs/data.md)",
        )
    unpacked_bytes, seen = 0, set[str]()
    for info in infos:
        problem = _problem(info, zip_bytes, max_member_bytes) or ("appears twice" if info.filename in seen else "")
        if problem:
            raise ArchiveRejected(
                f"entry {info.filename!r} of {name} {problem}", "do not use this archive; create it again"
            )
        seen.add(info.filename)
        unpacked_bytes += info.file_size
    if unpacked_bytes > max_unpacked_bytes:
        raise ArchiveRejected(
            f"{name} unpacks to {unpacked_bytes / 2**30:.2f} GiB, the limit is {max_unpacked_bytes / 2**30:.2f} GiB",
            "raise download.max_unpacked_gib in params.yaml if the archive is trusted",
        )


def _problem(info: zipfile.ZipInfo, zip_bytes: int, max_member_bytes: int) -> str:
    """Why a member is rejected, or an empty string."""
    # zipfile changes names on reading ("\\" on Windows, a NUL byte ends them): check what the file really says.
    path = info.orig_filename
    if "\x00" in path or "\\" in path or re.match(r"^([A-Za-z]:|/)", path) or ".." in path.split("/"):
        return "has a path that leaves the archive's folder"
    if stat.S_IFMT(info.external_attr >> 16) not in _FILE_TYPES:
        return "is a link or a device, not a file"
    if info.flag_bits & 0x1:
        return "is encrypted"
    if info.compress_type not in COMPRESSION_METHODS:
        return "has an unsupported compression (only stored and deflated are read)"
    if info.file_size > max_member_bytes:
        return f"unpacks to {info.file_size} bytes, at most {max_member_bytes} are read"
    if info.file_size > MAX_COMPRESSION_RATIO * max(info.compress_size, 1):
        return (
            f"unpacks to {info.file_size} bytes from {info.compress_size}, "
            f"more than {MAX_COMPRESSION_RATIO} times: a zip bomb"
        )
    if info.header_offset < 0 or info.header_offset + info.compress_size > zip_bytes:
        return f"lies outside of the {zip_bytes} bytes of the archive"
    return ""
