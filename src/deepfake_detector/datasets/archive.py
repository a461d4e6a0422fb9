"""A zip or the folder data/raw -> its images, each with split, label and group.

Two layouts are known: Kaggle's folders {train,valid,test}/{real,fake}, and our own CSV file of labels (`LABELS_FILE`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from posixpath import splitext
from types import TracebackType

from deepfake_detector.datasets.raw_folder import RawPictures, source_of
from deepfake_detector.datasets.safe_zip import SafeZip, ZipMember
from deepfake_detector.errors import ArchiveRejected

KAGGLE_ROOT = "real_vs_fake/real-vs-fake"
SPLITS = ("train", "valid", "test")
LABELS = {"real": 0, "fake": 1}  # the opposite of Kaggle's CSV files, where 1 is real
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
LABELS_FILE = "deepfake-detector-labels.csv"  # written by us, at the top of an archive whose labels come from a CSV
LABELS_COLUMNS = ("path", "label_str", "split", "group")


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of an archive.

    Attributes:
        path: inside the archive; in data/raw it begins with the source, and the zip of a source with several.
        split: "train", "valid" or "test".
        label: 1 for fake and 0 for real.
        group: images of one group belong in one split; "" if unknown, then each image stands alone.
        source: in data/raw, else "".
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
    """The images of a zip, or of all zips of data/raw; a context manager that frees the tables of contents.

    Attributes:
        entries: sorted by path. In data/raw, `faces.zip` gives paths that begin with `faces/`, and `faces/part-0.zip`
            paths that begin with `faces/part-0/`, both the source `faces`, so that a path is unique across all sources.
        root: the folder inside a zip that holds the splits; "" with `LABELS_FILE`, and for data/raw.
    """

    def __init__(self, path: Path | Mapping[str, Path], max_unpacked_bytes: int, name: str = "") -> None:
        """Read and check the tables of contents.

        Args:
            path: a zip file, data/raw, or some of its zips as `source_zips` gives them.
            max_unpacked_bytes: of all members of one zip together.
            name: of the zip in messages; its file name if empty.

        Raises:
            ArchiveRejected: not a zip, an unsafe member, too large, or no image in a known layout.
        """
        self._pictures = RawPictures(path, max_unpacked_bytes, name)
        self.root, entries = "", list[Entry]()
        for beginning, opened in self._pictures.zips.items():
            self.root, inside = read_entries(opened, beginning)
            entries += inside
        self.entries = tuple(entries)

    def read(self, entry: Entry) -> bytes:
        """The bytes of one image, never more than its declared size.

        Raises:
            ArchiveRejected: it is damaged (checksum, compression) or larger than declared.
        """
        return self.member(entry).read()

    def member(self, entry: Entry) -> ZipMember:
        """The position of an image, with which another process can read it."""
        return self._pictures.member(entry.path)

    def counts(self) -> dict[str, dict[str, int]]:
        """Images per split and label."""
        counts = {split: dict.fromkeys(LABELS, 0) for split in SPLITS}
        for entry in self.entries:
            counts[entry.split][_label_name(entry.label)] += 1
        return counts

    def close(self) -> None:
        """Free the tables of contents; no file is held open."""
        self._pictures.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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


def read_entries(opened: SafeZip, beginning: str = "") -> tuple[str, tuple[Entry, ...]]:
    """The folder that holds the splits, "" with `LABELS_FILE`, and the images of one zip, sorted by path.

    Args:
        opened: the zip.
        beginning: of their paths in data/raw, see `source_zips`.

    Raises:
        ArchiveRejected: no image in a known layout.
    """
    if LABELS_FILE in opened.names:
        root, entries = "", read_labels_file(opened.read(LABELS_FILE), frozenset(opened.names), opened.name)
    else:
        root, entries = find_entries(opened.names, opened.name)
    return root, tuple(_with_beginning(entry, beginning) for entry in entries) if beginning else entries


def _with_beginning(entry: Entry, beginning: str) -> Entry:
    """The entry in data/raw; groups are those of the source, not of one of its zips."""
    source = source_of(beginning)
    group = f"{source}/{entry.group}" if entry.group else ""
    return replace(entry, path=f"{beginning}/{entry.path}", group=group, source=source)
