"""Archives -> the labels that their own CSV files give, where they carry such files beside the pictures' folders."""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from deepfake_detector.data.layout import LABELS, SPLITS, TABLE
from deepfake_detector.data.volume import Volume

Listed = dict[tuple[str, str, str], set[int]]  # (source, split, file name) -> labels


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
    listed: Listed = {}
    for source, file in files.items():
        volume = Volume(file, max_unpacked_bytes)
        try:
            _read_lists(volume, source, listed)
        finally:
            volume.close()
    keys = zip(manifest["source"], manifest["split"], manifest["path"].str.rpartition("/")[2], strict=True)
    found = [listed.get(key, set()) for key in keys]
    labels = [float(next(iter(labels))) if len(labels) == 1 else np.nan for labels in found]
    return pd.Series(labels, index=manifest.index, dtype="float64")


def _read_lists(volume: Volume, source: str, listed: Listed) -> None:
    if TABLE in volume.names:
        return  # our own list: the labels come from it, so it witnesses nothing
    for name in volume.names:
        if name.lower().endswith(".csv"):
            for row in csv.DictReader(io.StringIO(volume.read(name).decode("utf-8", "replace"))):
                path, label = PurePosixPath(row.get("path") or ""), row.get("label_str") or ""
                split = next((part for part in path.parts if part in SPLITS), "")
                if split and label in LABELS:
                    listed.setdefault((source, split, path.name), set()).add(LABELS[label])
