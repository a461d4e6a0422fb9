"""A folder in Kaggle's layout, or a zip or folder with a CSV of labels -> one zip in a layout that `Archive` reads."""

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
    IMAGE_SUFFIXES,
    KAGGLE_ROOT,
    LABELS,
    LABELS_FILE,
    MAX_MEMBER_BYTES,
    SPLITS,
    Entry,
    SafeZip,
    is_image_name,
    labels_file_bytes,
    write_zip,
)
from deepfake_detector.datasets.label_csv import LABEL_COLUMNS, is_label_csv
from deepfake_detector.errors import ArchiveRejected

_MAX_HEADER_BYTES = 2**16  # of a CSV file's first line
_SPLIT_NAMES = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
_LABELLED_HINT = (
    "see docs/data.md: a CSV file with the columns path, label_str (real or fake), and group if there are any"
)


def pack_folder(folder: Path, to: Path, max_bytes: int) -> None:
    """Pack {train,valid,test}/{real,fake}, at any depth in `folder`, into a zip in Kaggle's layout.

    CSV files with labels, anywhere in `folder`, are packed too: `labels_from_csv` compares them with the folders.

    Args:
        folder: holds the images.
        to: the zip to write.
        max_bytes: of all packed files together.

    Raises:
        ArchiveRejected: the splits are not there exactly once, or the files are too large.
    """
    root = _split_root(folder)
    images = sorted(
        p for split in SPLITS for p in (root / split).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()
    )
    label_csvs = sorted(p for p in folder.rglob("*") if p.is_file() and is_label_csv(p.name, _csv_header(p)))
    _check_file_sizes(folder, [*label_csvs, *images], max_bytes, MAX_MEMBER_BYTES)
    csv_files = ((p.relative_to(folder).as_posix(), p.read_bytes()) for p in label_csvs)
    image_files = ((f"{KAGGLE_ROOT}/{p.relative_to(root).as_posix()}", p.read_bytes()) for p in images)
    write_zip(to, chain(csv_files, tqdm(image_files, total=len(images), desc="packing", unit="img")))


def pack_labelled(source: Path, to: Path, held_out_share: float, max_unpacked_bytes: int) -> int:
    """Pack the images that a CSV file labels, and `LABELS_FILE` with their labels, splits and groups, into a zip.

    Args:
        source: a zip or a folder with one CSV file. Its paths are relative to its own folder, or to the top.
        to: the zip to write.
        held_out_share: share of the training groups, for each of validation and test that the CSV lacks.
        max_unpacked_bytes: of all files together.

    Returns:
        The number of images that the CSV does not name and that are left out.

    Raises:
        ArchiveRejected: unsafe, too large, no such CSV or several, a row that names no image, an unknown label or
            split, or an image named twice.
    """
    files = Folder(source, max_unpacked_bytes) if source.is_dir() else SafeZip(source, max_unpacked_bytes)
    entries = _with_held_out_splits(_csv_entries(files), held_out_share)
    images = ((entry.path, files.read(entry.path)) for entry in entries)
    progress = tqdm(images, total=len(entries), desc="packing", unit="img")
    write_zip(to, chain([(LABELS_FILE, labels_file_bytes(entries))], progress))
    return len({name for name in files.names if is_image_name(name)} - {entry.path for entry in entries})


class Folder:
    """The files of a folder, with the interface and the limits of `SafeZip`."""

    def __init__(self, path: Path, max_bytes: int, max_member_bytes: int = MAX_MEMBER_BYTES) -> None:
        """List the files.

        Args:
            path: the folder.
            max_bytes: of all files together.
            max_member_bytes: of one file.

        Raises:
            ArchiveRejected: a file, or all together, are too large.
        """
        self.name, self._path = path.name, path
        files = sorted(file for file in path.rglob("*") if file.is_file())
        _check_file_sizes(path, files, max_bytes, max_member_bytes)
        self.names = tuple(file.relative_to(path).as_posix() for file in files)

    def read(self, name: str) -> bytes:
        """The bytes of one file."""
        return (self._path / name).read_bytes()


def _check_file_sizes(folder: Path, files: list[Path], max_bytes: int, max_member_bytes: int) -> None:
    size = sum(file.stat().st_size for file in files)
    if size > max_bytes:
        raise ArchiveRejected(
            f"{folder} holds {size / 2**30:.2f} GiB, the limit is {max_bytes / 2**30:.2f} GiB",
            "raise download.max_unpacked_gib in params.yaml",
        )
    large = [file for file in files if file.stat().st_size > max_member_bytes]
    if large:
        raise ArchiveRejected(f"{large[0]} has more than {max_member_bytes} bytes", "remove it, or make it smaller")


def _csv_header(file: Path) -> bytes:
    """The first line of a CSV file; other files are not read."""
    if file.suffix.lower() != ".csv":
        return b""
    with file.open("rb") as stream:
        return stream.readline(_MAX_HEADER_BYTES)


def _split_root(folder: Path) -> Path:
    """The folder that holds train, valid and test: `folder` itself or one below it."""
    parents = {path.parent for path in (folder / "train", *folder.rglob("train"))}
    roots = sorted(parent for parent in parents if all((parent / split).is_dir() for split in SPLITS))
    if len(roots) != 1:
        content = [str(root) for root in roots] or sorted(p.name for p in folder.iterdir())[:8]
        raise ArchiveRejected(
            f"{folder} must hold the folders train, valid and test exactly once, at any depth; found {content}",
            f"name the folder above {KAGGLE_ROOT}; or, if it has a CSV file with labels, use kind: labelled",
        )
    return roots[0]


def _csv_entries(files: SafeZip | Folder) -> list[Entry]:
    """The images as the CSV lists them, sorted by path; an unknown split is train."""
    names = frozenset(files.names)
    csv_name, rows = _label_rows(files)
    entries: dict[str, Entry] = {}
    for line, row in enumerate(rows, start=2):
        position = f"line {line} of {csv_name} in {files.name}"
        entry = _entry(row, csv_name, names, position)
        if entry.path in entries:
            raise ArchiveRejected(f"{position} names {entry.path} again", _LABELLED_HINT)
        entries[entry.path] = entry
    return [entries[path] for path in sorted(entries)]


def _label_rows(files: SafeZip | Folder) -> tuple[str, list[dict[str, str]]]:
    """Name and rows of the one CSV file that has the required columns."""
    found = {}
    for name in files.names:
        if name.lower().endswith(".csv") and "__MACOSX" not in name:
            try:
                reader = csv.DictReader(io.StringIO(files.read(name).decode("utf-8-sig")))
            except UnicodeDecodeError as error:
                raise ArchiveRejected(f"{name} in {files.name} is not UTF-8: {error}", "save it as UTF-8") from error
            if set(reader.fieldnames or ()) >= LABEL_COLUMNS:
                found[name] = list(reader)
    if len(found) != 1 or not all(found.values()):
        raise ArchiveRejected(
            f"{files.name} must hold one CSV file with labels, and rows in it; found {sorted(found) or 'none'}",
            _LABELLED_HINT,
        )
    return next(iter(found.items()))


def _entry(row: dict[str, str], csv_name: str, names: frozenset[str], position: str) -> Entry:
    given, label = row["path"] or "", (row["label_str"] or "").strip().lower()
    relative = str(PurePosixPath(csv_name).parent / given)
    path = relative if relative in names else given
    if path not in names or not is_image_name(path):
        raise ArchiveRejected(f"{position} names {given!r}, and there is no such image", _LABELLED_HINT)
    if label not in LABELS:
        raise ArchiveRejected(f"{position} has the label {row['label_str']!r}, not real or fake", _LABELLED_HINT)
    return Entry(path, _split(row.get("split") or "", given, position), LABELS[label], row.get("group") or "")


def _split(given: str, path: str, position: str) -> str:
    """The column's split; else the one that a folder names; else train."""
    if given:
        if given.strip().lower() not in _SPLIT_NAMES:
            raise ArchiveRejected(f"{position} has the split {given!r}, not one of {', '.join(SPLITS)}", _LABELLED_HINT)
        return _SPLIT_NAMES[given.strip().lower()]
    folders = [part.lower() for part in PurePosixPath(path).parts[:-1]]
    return next((_SPLIT_NAMES[part] for part in folders if part in _SPLIT_NAMES), "train")


def _with_held_out_splits(entries: Sequence[Entry], share: float) -> list[Entry]:
    """Move whole training groups, chosen by a hash of their name, into the splits that have no image."""
    missing = [split for split in ("valid", "test") if all(entry.split != split for entry in entries)]
    return [replace(entry, split=_hashed_split(entry, missing, share)) for entry in entries]


def _hashed_split(entry: Entry, missing: Sequence[str], share: float) -> str:
    if entry.split != "train":
        return entry.split
    digest = hashlib.sha256((entry.group or entry.path).encode()).digest()
    position = int.from_bytes(digest[:8]) / 2**64 / share  # uniform from 0 to 1 / share
    return missing[int(position)] if position < len(missing) else "train"
