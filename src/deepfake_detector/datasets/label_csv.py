"""A file beside pictures -> whether it is a CSV that says which picture is real, as Kaggle's are; its rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from deepfake_detector.datasets.archive import LABELS, SPLITS, TABLE, Volume

_COLUMNS = frozenset({"path", "label_str"})  # Kaggle's lists have more


def is_list(name: str, data: bytes) -> bool:
    """Whether a file is such a list, by its name and first line; our own table is none, as it witnesses nothing.

    Args:
        name: of the file, with or without folders.
        data: the file, or its first line.
    """
    path = PurePosixPath(name)
    if path.suffix.lower() != ".csv" or path.name == TABLE:
        return False
    return set(rows_of(data).fieldnames or ()) >= _COLUMNS


def rows_of(data: bytes) -> csv.DictReader[str]:
    """The rows of a CSV file; bytes that are no UTF-8 are replaced."""
    return csv.DictReader(io.StringIO(data.decode("utf-8-sig", "replace")))


def listed_labels(manifest: pd.DataFrame, archive: Path, max_unpacked_bytes: int) -> pd.Series:
    """What the archives' own lists say of each picture.

    Kaggle's train.csv, valid.csv and test.csv name every picture with `path` and `label_str`. Folders and lists are
    two witnesses: whoever renames a folder by mistake seldom rewrites the list. Pictures are matched by split and file
    name, not by folder, so that one which lies under the other label is found.

    Args:
        manifest: as `build_manifest` gives it.
        archive: a zip, or a folder with one zip per source.
        max_unpacked_bytes: see `Volume`.

    Returns:
        (n,) 1 fake, 0 real, NaN where no list names the picture, or lists give it both labels.

    Raises:
        ArchiveRejected: the archive is damaged or unsafe.
    """
    files = {file.stem: file for file in sorted(archive.glob("*.zip"))} if archive.is_dir() else {"": archive}
    labels = np.full(len(manifest), np.nan)
    for source, file in files.items():
        listed = _listed(Volume(file, max_unpacked_bytes))
        of_source = (manifest["source"] == source).to_numpy()
        rows = manifest[of_source]
        keys = zip(rows["split"], rows["path"].str.rpartition("/")[2], strict=True)
        labels[of_source] = [listed.get(key, np.nan) for key in keys]
    return pd.Series(labels, index=manifest.index)


def _listed(volume: Volume) -> dict[tuple[str, str], float]:
    """(split, file name) -> label; NaN where two are given."""
    listed: dict[tuple[str, str], float] = {}
    if TABLE in volume.names:
        return listed  # our own list: the labels come from it, so it witnesses nothing
    for name in volume.names:
        data = volume.read(name) if name.lower().endswith(".csv") else b""
        for row in rows_of(data) if is_list(name, data) else ():
            path, label = PurePosixPath(row["path"] or ""), row["label_str"] or ""
            split = next((part for part in path.parts if part in SPLITS), "")
            if split and label in LABELS:
                before = listed.setdefault((split, path.name), float(LABELS[label]))
                if before != LABELS[label]:
                    listed[split, path.name] = np.nan
    return listed
