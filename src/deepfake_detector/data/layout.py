"""Names of files inside an archive -> its pictures, each with split, label and group; the two layouts we know."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from posixpath import splitext

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
