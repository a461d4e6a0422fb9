"""Names of files inside an archive -> its pictures, each with split, label and group; the two layouts we know."""

from __future__ import annotations

import csv
import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from posixpath import splitext
from types import TracebackType

from deepfake_detector.errors import ArchiveRejected

ROOT = "real_vs_fake/real-vs-fake"
SPLITS = ("train", "valid", "test")
LABELS = {"real": 0, "fake": 1}  # the opposite of Kaggle's CSV files, where 1 is real
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
TABLE = "deepfake-detector-labels.csv"  # written by us, at the top of an archive whose labels come from a table
TABLE_COLUMNS = ("path", "label_str", "split", "group")


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture inside an archive.

    Attributes:
        path: inside the archive; in a folder of archives it begins with the archive's name.
        label: 1 for fake and 0 for real.
        group: pictures of one group belong into one split; "" if nothing is known, then each stands alone.
        source: name of the archive in a folder of archives, else "".
    """

    path: str
    split: str
    label: int
    group: str = ""
    source: str = ""

    @property
    def inner(self) -> str:
        """The path below the root of the Kaggle layout: split/label/name."""
        return "/".join(self.path.split("/")[-3:])


def is_picture(path: str) -> bool:
    """Whether a name is a picture's, and not one of those that Finder adds to every zip."""
    *above, file = path.split("/")
    return splitext(file)[1].lower() in PICTURES and not file.startswith(".") and "__MACOSX" not in above


def find_pictures(names: Iterable[str], archive: str) -> tuple[str, tuple[Entry, ...]]:
    """The folder that holds the splits, and its pictures sorted by path.

    Args:
        names: of all files inside.
        archive: what messages call it.

    Raises:
        ArchiveRejected: no folder, or several, hold {train,valid,test}/{real,fake}.
    """
    found: dict[str, list[Entry]] = {}
    files = sorted(names)
    for path in files:
        *above, split, label, _ = ("", "", "", *path.split("/"))[-max(path.count("/") + 1, 3) :]
        if split in SPLITS and label in LABELS and is_picture(path):
            found.setdefault("/".join(above), []).append(Entry(path, split, LABELS[label]))
    root = ROOT if ROOT in found else next(iter(found), "")
    if not found or (len(found) > 1 and root != ROOT):
        seen = sorted(found) or sorted({"/".join(path.split("/")[:4]) for path in files})[:8]
        raise ArchiveRejected(
            f"{archive} must hold pictures under one {ROOT}/{{train,valid,test}}/{{real,fake}}; it holds {seen}",
            "rename the folders inside it to that layout; or, if it has a CSV file with labels, use kind: labelled",
        )
    return root, tuple(found[root])


def read_table(data: bytes, names: Collection[str], archive: str) -> tuple[Entry, ...]:
    """The pictures that our own table lists, sorted by path.

    Raises:
        ArchiveRejected: a row that names no file, or a split or label that does not exist.
    """
    entries = []
    for row in csv.DictReader(io.StringIO(data.decode("utf-8"))):
        if tuple(row) != TABLE_COLUMNS or row["path"] not in names or row["split"] not in SPLITS:
            raise ArchiveRejected(f"{TABLE} in {archive} has the row {row}", "fetch the archive again")
        if row["label_str"] not in LABELS:
            raise ArchiveRejected(f"{TABLE} in {archive} has the label {row['label_str']!r}", "only real and fake")
        entries.append(Entry(row["path"], row["split"], LABELS[row["label_str"]], row["group"]))
    return tuple(sorted(entries, key=lambda entry: entry.path))


def write_table(entries: Iterable[Entry]) -> bytes:
    """What `read_table` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(TABLE_COLUMNS)
    names = {number: name for name, number in LABELS.items()}
    writer.writerows((entry.path, names[entry.label], entry.split, entry.group) for entry in entries)
    return text.getvalue().encode("utf-8")


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
