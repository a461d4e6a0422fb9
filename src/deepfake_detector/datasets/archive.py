"""A zip or a folder of zips -> its images, each with split, label and group, checked before a byte is unpacked.

Two layouts are known: Kaggle's folders {train,valid,test}/{real,fake}, and our own CSV file of labels (`LABELS_FILE`).
"""

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

KAGGLE_ROOT = "real_vs_fake/real-vs-fake"
SPLITS = ("train", "valid", "test")
LABELS = {"real": 0, "fake": 1}  # the opposite of Kaggle's CSV files, where 1 is real
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
LABELS_FILE = "deepfake-detector-labels.csv"  # written by us, at the top of an archive whose labels come from a CSV
LABELS_COLUMNS = ("path", "label_str", "split", "group")
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


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of an archive.

    Attributes:
        path: inside the archive; in a folder of archives it begins with the archive's name.
        split: "train", "valid" or "test".
        label: 1 for fake and 0 for real.
        group: images of one group belong in one split; "" if unknown, then each image stands alone.
        source: name of the archive in a folder of archives, else "".
    """

    path: str
    split: str
    label: int
    group: str = ""
    source: str = ""

    @property
    def kaggle_path(self) -> str:
        """The path below `KAGGLE_ROOT`: split/label/name."""
        return "/".join(self.path.split("/")[-3:])


class Archive:
    """The images of a zip, or of a folder of zips; a context manager that frees the tables of contents.

    Attributes:
        entries: sorted by path. In a folder, `faces.zip` gives paths that begin with `faces/` and the source `faces`,
            so that a path is unique across all sources.
        root: the folder inside a zip that holds the splits; "" with `LABELS_FILE`, and for a folder.
    """

    def __init__(self, path: Path, max_unpacked_bytes: int, name: str = "") -> None:
        """Read and check the tables of contents.

        Args:
            path: a zip file, or a folder of zip files.
            max_unpacked_bytes: of all members of one zip together.
            name: of the zip in messages; its file name if empty.

        Raises:
            ArchiveRejected: not a zip, an unsafe member, too large, or no image in a known layout.
        """
        self._zips: dict[str, SafeZip] = {}
        self.root, entries = "", list[Entry]()
        for source, file in _zip_files(path).items():
            opened = self._zips[source] = SafeZip(file, max_unpacked_bytes, name)
            self.root, inside = _read_entries(opened)
            entries += [_with_source(entry, source) for entry in inside] if source else inside
        self.entries = tuple(sorted(entries, key=lambda entry: entry.path))

    def read(self, entry: Entry) -> bytes:
        """The bytes of one image, never more than its declared size.

        Raises:
            ArchiveRejected: it is damaged (checksum, compression) or larger than declared.
        """
        return self.member(entry).read()

    def member(self, entry: Entry) -> ZipMember:
        """The position of an image, with which another process can read it."""
        if "" in self._zips:
            return self._zips[""].member(entry.path)
        source, _, path = entry.path.partition("/")
        return self._zips[source].member(path)

    def counts(self) -> dict[str, dict[str, int]]:
        """Images per split and label."""
        counts = {split: dict.fromkeys(LABELS, 0) for split in SPLITS}
        for entry in self.entries:
            counts[entry.split][_label_name(entry.label)] += 1
        return counts

    def close(self) -> None:
        """Free the tables of contents; no file is held open."""
        self._zips.clear()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SafeZip:
    """A zip file whose table of contents passed the checks."""

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
        self.name = name or path.name
        try:
            with zipfile.ZipFile(path) as file:
                infos = file.infolist()
        except UNREADABLE_ZIP as error:
            raise ArchiveRejected(
                f"{self.name} is not a complete zip file: {error}",
                "copy or download it again; the last download may have been interrupted",
            ) from error
        self._members = _checked_members(infos, path, self.name, max_unpacked_bytes, max_member_bytes)

    @property
    def names(self) -> tuple[str, ...]:
        """Paths of all files inside, in the order of the zip."""
        return tuple(path for path in self._members if not path.endswith("/"))

    def member(self, path: str) -> ZipMember:
        """The position of one file, with which another process can read it.

        Raises:
            ArchiveRejected: there is no such file.
        """
        if path not in self._members:
            raise ArchiveRejected(f"{path} is not in {self.name}", "run `dvc repro`, which reads the archive again")
        return self._members[path]

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


def is_image_name(path: str) -> bool:
    """Whether a path has an image's suffix and is none of the hidden files that macOS adds to every zip."""
    *folders, file = path.split("/")
    return splitext(file)[1].lower() in IMAGE_SUFFIXES and not file.startswith(".") and "__MACOSX" not in folders


def find_entries(names: Iterable[str], archive: str) -> tuple[str, tuple[Entry, ...]]:
    """The folder that holds the splits in Kaggle's layout, and its images sorted by path.

    Args:
        names: paths of all files inside.
        archive: its name in messages.

    Raises:
        ArchiveRejected: no folder, or several, hold {train,valid,test}/{real,fake}.
    """
    entries: dict[str, list[Entry]] = {}
    paths = sorted(names)
    for path in paths:
        *above, split, label, _ = ("", "", "", *path.split("/"))[-max(path.count("/") + 1, 3) :]
        if split in SPLITS and label in LABELS and is_image_name(path):
            entries.setdefault("/".join(above), []).append(Entry(path, split, LABELS[label]))
    root = KAGGLE_ROOT if KAGGLE_ROOT in entries else next(iter(entries), "")
    if not entries or (len(entries) > 1 and root != KAGGLE_ROOT):
        content = sorted(entries) or sorted({"/".join(path.split("/")[:4]) for path in paths})[:8]
        raise ArchiveRejected(
            f"{archive} must hold images under one {KAGGLE_ROOT}/{{train,valid,test}}/{{real,fake}}; "
            f"it holds {content}",
            "rename the folders inside it to that layout; or, if it has a CSV file with labels, use kind: labelled",
        )
    return root, tuple(entries[root])


def read_labels_file(data: bytes, names: Collection[str], archive: str) -> tuple[Entry, ...]:
    """The images that `LABELS_FILE` lists, sorted by path.

    Raises:
        ArchiveRejected: a row names no file, or an unknown split or label.
    """
    entries = []
    for row in csv.DictReader(io.StringIO(data.decode("utf-8"))):
        if tuple(row) != LABELS_COLUMNS or row["path"] not in names or row["split"] not in SPLITS:
            raise ArchiveRejected(f"{LABELS_FILE} in {archive} has the row {row}", "download the archive again")
        if row["label_str"] not in LABELS:
            raise ArchiveRejected(
                f"{LABELS_FILE} in {archive} has the label {row['label_str']!r}", "use only real and fake"
            )
        entries.append(Entry(row["path"], row["split"], LABELS[row["label_str"]], row["group"]))
    return tuple(sorted(entries, key=lambda entry: entry.path))


def labels_file_bytes(entries: Iterable[Entry]) -> bytes:
    """The content of `LABELS_FILE`, which `read_labels_file` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LABELS_COLUMNS)
    writer.writerows((entry.path, _label_name(entry.label), entry.split, entry.group) for entry in entries)
    return text.getvalue().encode("utf-8")


def _label_name(label: int) -> str:
    return next(name for name, number in LABELS.items() if number == label)


def _zip_files(path: Path) -> dict[str, Path]:
    """Source -> zip; the source "" for a single zip."""
    if not path.is_dir():
        return {"": path}
    files = {file.stem: file for file in sorted(path.glob("*.zip"))}
    if not files:
        raise ArchiveRejected(f"no archive lies in {path}", "run `dvc repro download`")
    return files


def _read_entries(opened: SafeZip) -> tuple[str, tuple[Entry, ...]]:
    if LABELS_FILE in opened.names:
        return "", read_labels_file(opened.read(LABELS_FILE), frozenset(opened.names), opened.name)
    return find_entries(opened.names, opened.name)


def _with_source(entry: Entry, source: str) -> Entry:
    group = f"{source}/{entry.group}" if entry.group else ""
    return replace(entry, path=f"{source}/{entry.path}", group=group, source=source)


def _checked_members(
    infos: list[zipfile.ZipInfo], path: Path, name: str, max_unpacked_bytes: int, max_member_bytes: int
) -> dict[str, ZipMember]:
    if len(infos) > MAX_MEMBERS:
        raise ArchiveRejected(f"{name} has {len(infos)} entries, at most {MAX_MEMBERS} are read", "split the archive")
    unpacked_bytes, members = 0, dict[str, ZipMember]()
    for info in infos:
        problem = _problem(info, max_member_bytes) or ("appears twice" if info.filename in members else "")
        if problem:
            raise ArchiveRejected(
                f"entry {info.filename!r} of {name} {problem}", "do not use this archive; create it again"
            )
        sizes = (info.compress_size, info.file_size)
        members[info.filename] = ZipMember(
            path, name, info.filename, info.header_offset, *sizes, info.CRC, info.compress_type
        )
        unpacked_bytes += info.file_size
    if unpacked_bytes > max_unpacked_bytes:
        raise ArchiveRejected(
            f"{name} unpacks to {unpacked_bytes / 2**30:.2f} GiB, the limit is {max_unpacked_bytes / 2**30:.2f} GiB",
            "raise download.max_unpacked_gib in params.yaml if the archive is trusted",
        )
    return members


def _problem(info: zipfile.ZipInfo, max_member_bytes: int) -> str:
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
    return ""
