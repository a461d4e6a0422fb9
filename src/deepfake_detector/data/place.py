"""Where one file lies in a zip -> its bytes, checked. A table of contents is long; a place is short and travels."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from deepfake_detector.errors import ArchiveRejected

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of compression, as all programs write them
_HEADER = struct.Struct("<4s22sHH")  # before the data: signature, what the table says too, lengths of name and rest


@dataclass(frozen=True, slots=True)
class Place:
    """What the table of contents says of one file.

    Attributes:
        zip: the archive's path.
        name: what messages call the archive.
        path: of the file, in the archive.
        start: of its header, bytes from the beginning of the archive.
        packed_bytes, unpacked_bytes: its size in the archive and outside.
        crc: checksum of its bytes.
        method: of compression, one of `METHODS`.
    """

    zip: Path
    name: str
    path: str
    start: int
    packed_bytes: int
    unpacked_bytes: int
    crc: int
    method: int

    @property
    def stamp(self) -> str:
        """Size and checksum: another picture has another stamp."""
        return f"{self.unpacked_bytes}:{self.crc:08x}"

    def read(self) -> bytes:
        """The bytes of the file, never more than its declared size.

        Raises:
            ArchiveRejected: it is damaged (checksum, compression) or larger than declared.
        """
        try:
            data = self._unpacked(self._packed())
        except (OSError, EOFError, zlib.error) as error:
            raise self._unreadable(str(error)) from error
        if len(data) != self.unpacked_bytes:
            raise ArchiveRejected(
                f"{self.path} in {self.name} unpacks to another size than the {self.unpacked_bytes} bytes of its table",
                "do not use this archive: it is damaged, or its sizes are forged, as in a zip bomb",
            )
        if zlib.crc32(data) != self.crc:
            raise self._unreadable("its bytes do not have the CRC-32 of the table of contents")
        return data

    def _packed(self) -> bytes:
        with self.zip.open("rb") as file:
            file.seek(self.start)
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size or not header.startswith(b"PK\x03\x04"):
                raise EOFError("no file begins where the table of contents says")
            _, _, name_bytes, rest_bytes = _HEADER.unpack(header)
            file.seek(name_bytes + rest_bytes, 1)
            return file.read(self.packed_bytes)

    def _unpacked(self, packed: bytes) -> bytes:
        if self.method == zipfile.ZIP_STORED:
            return packed
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, self.unpacked_bytes + 1)

    def _unreadable(self, reason: str) -> ArchiveRejected:
        return ArchiveRejected(
            f"{self.path} in {self.name} cannot be read: {reason}", "copy or download the archive again"
        )
