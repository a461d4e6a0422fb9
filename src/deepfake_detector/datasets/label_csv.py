"""CSV files beside images, as Kaggle's data set has them -> the label that they give each image."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from deepfake_detector.datasets.archive import LABELS, LABELS_FILE, SPLITS
from deepfake_detector.datasets.raw_folder import source_of, source_zips
from deepfake_detector.datasets.safe_zip import SafeZip

LABEL_COLUMNS = frozenset({"path", "label_str"})  # Kaggle's files have more


def is_label_csv(name: str, data: bytes) -> bool:
    """Whether a file is a CSV with labels, by its name and first line.

    `LABELS_FILE` is none: the labels come from it, so it cannot confirm them.

    Args:
        name: of the file, with or without folders.
        data: the file, or its first line.
    """
    path = PurePosixPath(name)
    if path.suffix.lower() != ".csv" or path.name == LABELS_FILE:
        return False
    return set(csv_rows(data).fieldnames or ()) >= LABEL_COLUMNS


def csv_rows(data: bytes) -> csv.DictReader[str]:
    """The rows of a CSV file; bytes that are not UTF-8 are replaced."""
    return csv.DictReader(io.StringIO(data.decode("utf-8-sig", "replace")))


def labels_from_csv(manifest: pd.DataFrame, archive: Path, max_unpacked_bytes: int) -> pd.Series:
    """The label that the archives' own CSV files give each image.

    Kaggle's train.csv, valid.csv and test.csv name every image with `path` and `label_str`. They are independent of
    the folders: an image moved to another folder by mistake keeps its label in the CSV. Images are matched by split
    and file name, without the label's folder, so that such an image is found.

    Args:
        manifest: as `build_manifest` gives it.
        archive: a zip, or data/raw.
        max_unpacked_bytes: see `SafeZip`.

    Returns:
        (n,) 1 fake, 0 real, NaN where no CSV names the image, or CSV files give it both labels.

    Raises:
        ArchiveRejected: the archive is damaged or unsafe.
    """
    labels = np.full(len(manifest), np.nan)
    for source, zips in groupby(source_zips(archive).items(), key=lambda item: source_of(item[0])):
        csv_labels = _csv_labels(SafeZip(file, max_unpacked_bytes) for _, file in zips)
        if not csv_labels:
            continue
        of_source = (manifest["source"] == source).to_numpy()
        rows = manifest[of_source]
        labels[of_source] = [csv_labels.get(_split_and_name(path), np.nan) for path in rows["path"]]
    return pd.Series(labels, index=manifest.index)


def _split_and_name(path: str) -> tuple[str, str]:
    """Of a path that ends with split/label/name; the manifest's split may be another one (`use: test`)."""
    split, _, name = ("", "", *path.split("/"))[-3:]
    return split, name


def _csv_labels(zips: Iterable[SafeZip]) -> dict[tuple[str, str], float]:
    """(split, file name) -> label by the CSV files of one source; NaN where both are given."""
    labels: dict[tuple[str, str], float] = {}
    for opened in zips:
        for row in _label_rows(opened):
            path, label = PurePosixPath(row["path"] or ""), row["label_str"] or ""
            split = next((part for part in path.parts if part in SPLITS), "")
            if split and label in LABELS:
                first = labels.setdefault((split, path.name), float(LABELS[label]))
                if first != LABELS[label]:
                    labels[split, path.name] = np.nan
    return labels


def _label_rows(opened: SafeZip) -> Iterator[dict[str, str]]:
    """Rows of a zip's CSV files with labels; none beside `LABELS_FILE`."""
    if LABELS_FILE in opened.names:
        return
    for name in opened.names:
        data = opened.read(name) if name.lower().endswith(".csv") else b""
        if is_label_csv(name, data):
            yield from csv_rows(data)
