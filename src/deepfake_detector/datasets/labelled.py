"""A zip or folder of pictures with a CSV of labels, or in folders real and fake -> one zip that `Archive` reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from itertools import chain, islice
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from deepfake_detector.datasets.archive import LABELS, LABELS_FILE, SPLITS, Entry, is_image_name, labels_file_bytes
from deepfake_detector.datasets.held_out_splits import with_held_out_splits
from deepfake_detector.datasets.packing import Folder
from deepfake_detector.datasets.safe_zip import SafeZip, write_zip
from deepfake_detector.errors import ArchiveRejected

LABEL_NAMES = ("label_str", "label")  # of the column; Kaggle's files have both, and their `label` is 1 for real
DELIMITERS = ",;\t"  # spreadsheets write all three
_SPLIT_NAMES = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
_HINT = (
    "see docs/data.md: folders called real and fake, or a CSV file with the columns path, label_str (real or fake), "
    "and group if there are any"
)
Row = dict[str, str]


def pack_labelled(source: Path, to: Path, held_out_share: float, max_unpacked_bytes: int) -> int:
    """Pack the pictures that have a label, and `LABELS_FILE` with their labels, splits and groups, into a zip.

    Args:
        source: a zip or a folder with one CSV file, whose paths are relative to its own folder or to the top; without
            one, folders called real and fake, at any depth.
        to: the zip to write.
        held_out_share: see `with_held_out_splits`.
        max_unpacked_bytes: of all files together.

    Returns:
        The number of pictures that have no label and are left out.

    Raises:
        ArchiveRejected: unsafe, too large, no labels, several CSV files with labels, a row that names no picture, an
            unknown label or split, or a picture named twice.
    """
    return pack_several_labelled({source: to}, held_out_share, max_unpacked_bytes)


def pack_several_labelled(zips: Mapping[Path, Path], held_out_share: float, max_unpacked_bytes: int) -> int:
    """The same for each zip or folder of a source; splits are drawn once, from all of them together.

    Args:
        zips: zip or folder -> the zip to write.
        held_out_share, max_unpacked_bytes: the latter of each zip; see `pack_labelled`.
    """
    opened = [
        Folder(source, max_unpacked_bytes) if source.is_dir() else SafeZip(source, max_unpacked_bytes)
        for source in zips
    ]
    labelled = [_entries(files) for files in opened]
    entries = iter(with_held_out_splits(list(chain.from_iterable(labelled)), held_out_share))
    return sum(
        _write(files, list(islice(entries, len(some))), to)
        for files, some, to in zip(opened, labelled, zips.values(), strict=True)
    )


def _write(files: SafeZip | Folder, entries: list[Entry], to: Path) -> int:
    images = ((entry.path, files.read(entry.path)) for entry in entries)
    progress = tqdm(images, total=len(entries), desc="packing", unit="img")
    write_zip(to, chain([(LABELS_FILE, labels_file_bytes(entries))], progress))
    return len({name for name in files.names if is_image_name(name)} - {entry.path for entry in entries})


def _entries(files: SafeZip | Folder) -> list[Entry]:
    """The labelled pictures, sorted by path; without a named split they are train."""
    tables, other_csvs = _label_tables(files)
    if len(tables) > 1:
        raise ArchiveRejected(f"{files.name} has several CSV files with labels: {', '.join(sorted(tables))}", _HINT)
    entries = [entry for name, rows in tables.items() for entry in _csv_entries(name, rows, files)]
    if not tables:
        _reject_nearly_labels(other_csvs, files.name)
        entries = [entry for name in files.names if is_image_name(name) for entry in _folder_entry(name)]
    if not entries:
        columns = "".join(f"; {name} has the columns {', '.join(found)}" for name, found in other_csvs.items())
        raise ArchiveRejected(
            f"{files.name} has no CSV file with labels, and no folders real and fake with pictures{columns}", _HINT
        )
    return sorted(entries, key=lambda entry: entry.path)


def _label_tables(files: SafeZip | Folder) -> tuple[dict[str, list[Row]], dict[str, list[str]]]:
    """CSV files with labels -> their rows; the other CSV files -> their columns."""
    tables, others = {}, {}
    for name in files.names:
        if name.lower().endswith(".csv") and "__MACOSX" not in name:
            try:
                columns, rows = _read_table(files.read(name).decode("utf-8-sig"))
            except UnicodeDecodeError as error:
                raise ArchiveRejected(f"{name} in {files.name} is not UTF-8: {error}", "save it as UTF-8") from error
            if "path" in columns and any(label in columns for label in LABEL_NAMES):
                if not rows:
                    raise ArchiveRejected(f"{name} in {files.name} has no rows", _HINT)
                tables[name] = rows
            else:
                others[name] = columns
    return tables, others


def _read_table(text: str) -> tuple[list[str], list[Row]]:
    """Column names in lower case, and rows by these names; cells without surrounding blanks."""
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text), delimiter=max(DELIMITERS, key=header.count))
    columns = [name.strip().lower() for name in next(reader, [])]
    rows = ([cell.strip() for cell in cells] for cells in reader if cells)
    return columns, [dict(zip(columns, cells + [""] * len(columns), strict=False)) for cells in rows]


def _reject_nearly_labels(csvs: dict[str, list[str]], archive: str) -> None:
    """Refuse a CSV file that has one of the two columns: the folders would give other labels than it means to."""
    for name, columns in csvs.items():
        if {"path", *LABEL_NAMES} & set(columns):
            raise ArchiveRejected(
                f"{name} in {archive} has the columns {', '.join(columns)}; labels need path and label_str", _HINT
            )


def _csv_entries(csv_name: str, rows: list[Row], files: SafeZip | Folder) -> list[Entry]:
    names, entries = frozenset(files.names), dict[str, Entry]()
    for line, row in enumerate(rows, start=2):
        position = f"line {line} of {csv_name} in {files.name}"
        entry = _csv_entry(row, csv_name, names, position)
        if entry.path in entries:
            raise ArchiveRejected(f"{position} names {entry.path} again", _HINT)
        entries[entry.path] = entry
    return list(entries.values())


def _csv_entry(row: Row, csv_name: str, names: frozenset[str], position: str) -> Entry:
    given = row["path"] if row["path"] in names else row["path"].replace("\\", "/")
    relative = str(PurePosixPath(csv_name).parent / given)
    path = relative if relative in names else given
    if path not in names or not is_image_name(path):
        raise ArchiveRejected(f"{position} names {row['path']!r}, and there is no such image", _HINT)
    label = next(row[name] for name in LABEL_NAMES if name in row)
    if label.lower() not in LABELS:
        raise ArchiveRejected(f"{position} has the label {label!r}, not real or fake", _HINT)
    return Entry(path, _split(row.get("split", ""), given, position), LABELS[label.lower()], row.get("group", ""))


def _folder_entry(path: str) -> list[Entry]:
    """The picture with the label of its innermost folder called real or fake; nothing without one."""
    folders = [folder.lower() for folder in PurePosixPath(path).parts[:-1]]
    labels = [LABELS[folder] for folder in folders if folder in LABELS]
    return [Entry(path, _split("", path, path), labels[-1])] if labels else []


def _split(given: str, path: str, position: str) -> str:
    """The column's split; else the one that a folder names; else train."""
    if given:
        if given.lower() not in _SPLIT_NAMES:
            raise ArchiveRejected(f"{position} has the split {given!r}, not one of {', '.join(SPLITS)}", _HINT)
        return _SPLIT_NAMES[given.lower()]
    folders = [part.lower() for part in PurePosixPath(path).parts[:-1]]
    return next((_SPLIT_NAMES[part] for part in folders if part in _SPLIT_NAMES), "train")
