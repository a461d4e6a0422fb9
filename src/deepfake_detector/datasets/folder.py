"""A folder on disk -> names and bytes of what is inside; Kaggle's layout on disk -> a zip."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from deepfake_detector.datasets.archive import (
    LABELS,
    MAX_ENTRY_BYTES,
    PICTURES,
    ROOT,
    SPLITS,
    TABLE,
    Entry,
    Volume,
    is_picture,
    pack,
    write_table,
)
from deepfake_detector.datasets.label_csv import is_list
from deepfake_detector.errors import ArchiveRejected

_LONGEST_LINE = 2**16  # bytes of a CSV file's first line; a list of labels has a short one


class Folder:
    """The files below a folder; read with the same limits as those in a zip."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        """List the files.

        Raises:
            ArchiveRejected: one is, or all together are, too large.
        """
        self.name, self._path = path.name, path
        files = sorted(file for file in path.rglob("*") if file.is_file())
        check_sizes(path, files, max_bytes)
        self.names = tuple(file.relative_to(path).as_posix() for file in files)

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        return (self._path / name).read_bytes()


def check_sizes(folder: Path, files: list[Path], max_bytes: int) -> None:
    """Refuse what is too large to be a set of portraits.

    Raises:
        ArchiveRejected: one file is, or all together are.
    """
    size = sum(file.stat().st_size for file in files)
    if size > max_bytes:
        raise ArchiveRejected(
            f"{folder} holds {size / 2**30:.2f} GiB", "raise download.max_unpacked_gib in params.yaml"
        )
    large = [file for file in files if file.stat().st_size > MAX_ENTRY_BYTES]
    if large:
        raise ArchiveRejected(
            f"{large[0]} has more than {MAX_ENTRY_BYTES} bytes", "remove it; no portrait and no list is so large"
        )


def pack_folder(folder: Path, to: Path, max_bytes: int) -> None:
    """Pack {train,valid,test}/{real,fake}, at any depth in `folder`, into a zip in Kaggle's layout.

    CSV files with labels, wherever they lie in `folder`, come along: `listed_labels` compares them with the folders.

    Raises:
        ArchiveRejected: the splits are not there exactly once, or the files are too large.
    """
    root = _find_root(folder)
    files = sorted(
        p for split in SPLITS for p in (root / split).rglob("*") if p.suffix.lower() in PICTURES and p.is_file()
    )
    lists = sorted(p for p in folder.rglob("*") if p.is_file() and is_list(p.name, _first_line(p)))
    check_sizes(folder, [*lists, *files], max_bytes)
    beside = ((p.relative_to(folder).as_posix(), p.read_bytes()) for p in lists)
    names = ((f"{ROOT}/{p.relative_to(root).as_posix()}", p.read_bytes()) for p in files)
    pack(to, chain(beside, tqdm(names, total=len(files), desc="packing", unit="img")))


def _first_line(file: Path) -> bytes:
    """Of a CSV file; of others nothing is read."""
    if file.suffix.lower() != ".csv":
        return b""
    with file.open("rb") as stream:
        return stream.readline(_LONGEST_LINE)


def _find_root(folder: Path) -> Path:
    """The folder that holds train, valid and test: `folder` itself or one below it."""
    found = [
        p.parent
        for p in (folder / "train", *sorted(folder.rglob("train")))
        if all((p.parent / s).is_dir() for s in SPLITS)
    ]
    roots = sorted(set(found))
    if len(roots) != 1:
        seen = [str(p) for p in roots] or sorted(p.name for p in folder.iterdir())[:8]
        raise ArchiveRejected(
            f"{folder} must hold the folders train, valid and test exactly once, at any depth; found {seen}",
            f"name the folder that lies above {ROOT}; or, if it has a CSV file with labels, use kind: labelled",
        )
    return roots[0]


NEEDED = ("path", "label_str")
_SPLIT_NAMES = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
_HINT = "see README, Other data: a CSV file with the columns path, label_str (real or fake), and group if there are any"


def pack_labelled(place: Path, to: Path, held_out_share: float, max_unpacked_bytes: int) -> int:
    """Pack the labelled pictures, and a table of their labels, splits and groups, into the zip `to`.

    Args:
        place: a zip or a folder, one CSV file in it. Paths in the CSV count from its own folder, or from the top.
        to: the zip to write.
        held_out_share: of the training groups, for each of validation and test that the source lacks.
        max_unpacked_bytes: of all files together.

    Returns:
        How many pictures were left out, because the CSV does not name them.

    Raises:
        ArchiveRejected: unsafe, too large, no such CSV or several, a row that names no file, an unknown label or
            split, or a picture named twice.
    """
    volume = Folder(place, max_unpacked_bytes) if place.is_dir() else Volume(place, max_unpacked_bytes)
    entries = _carved(_listed(volume), held_out_share)
    pictures = ((entry.path, volume.read(entry.path)) for entry in entries)
    progress = tqdm(pictures, total=len(entries), desc="packing", unit="img")
    pack(to, chain([(TABLE, write_table(entries))], progress))
    return len({name for name in volume.names if is_picture(name)} - {entry.path for entry in entries})


def _listed(volume: Volume | Folder) -> list[Entry]:
    """The pictures as the CSV has them, sorted by path; a split that is not known is train."""
    names = frozenset(volume.names)
    table, rows = _table(volume)
    entries: dict[str, Entry] = {}
    for line, row in enumerate(rows, start=2):
        entry = _entry(row, table, names, f"line {line} of {table} in {volume.name}")
        if entry.path in entries:
            raise ArchiveRejected(f"line {line} of {table} in {volume.name} names {entry.path} again", _HINT)
        entries[entry.path] = entry
    return [entries[path] for path in sorted(entries)]


def _table(volume: Volume | Folder) -> tuple[str, list[dict[str, str]]]:
    """Name and rows of the one CSV file that has the columns we need."""
    found = {}
    for name in volume.names:
        if name.lower().endswith(".csv") and "__MACOSX" not in name:
            try:
                reader = csv.DictReader(io.StringIO(volume.read(name).decode("utf-8-sig")))
            except UnicodeDecodeError as error:
                raise ArchiveRejected(f"{name} in {volume.name} is not UTF-8: {error}", "save it as UTF-8") from error
            if set(NEEDED) <= set(reader.fieldnames or ()):
                found[name] = list(reader)
    if len(found) != 1 or not all(found.values()):
        seen = sorted(found) or "none"
        raise ArchiveRejected(f"{volume.name} must hold one CSV file with labels, and rows in it; found {seen}", _HINT)
    return next(iter(found.items()))


def _entry(row: dict[str, str], table: str, names: frozenset[str], where: str) -> Entry:
    written, label = row["path"] or "", (row["label_str"] or "").strip().lower()
    beside = str(PurePosixPath(table).parent / written)
    path = beside if beside in names else written
    if path not in names or not is_picture(path):
        raise ArchiveRejected(f"{where} names {written!r}, and no such picture is there", _HINT)
    if label not in LABELS:
        raise ArchiveRejected(f"{where} has the label {row['label_str']!r}, not real or fake", _HINT)
    return Entry(path, _split(row.get("split") or "", written, where), LABELS[label], row.get("group") or "")


def _split(written: str, path: str, where: str) -> str:
    """What the column says; else a folder's name that says it; else train, of which the rest is carved."""
    if written:
        if written.strip().lower() not in _SPLIT_NAMES:
            raise ArchiveRejected(f"{where} has the split {written!r}, not one of {', '.join(SPLITS)}", _HINT)
        return _SPLIT_NAMES[written.strip().lower()]
    folders = [part.lower() for part in PurePosixPath(path).parts[:-1]]
    return next((_SPLIT_NAMES[part] for part in folders if part in _SPLIT_NAMES), "train")


def _carved(entries: Sequence[Entry], share: float) -> list[Entry]:
    """Move whole training groups, chosen by a hash of their name, into the splits that nobody is in."""
    lacking = [split for split in ("valid", "test") if all(entry.split != split for entry in entries)]
    return [replace(entry, split=_drawn(entry, lacking, share)) for entry in entries]


def _drawn(entry: Entry, lacking: Sequence[str], share: float) -> str:
    if entry.split != "train":
        return entry.split
    digest = hashlib.sha256((entry.group or entry.path).encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64 / share
    return lacking[int(place)] if place < len(lacking) else "train"
