"""A file beside pictures -> whether it is a CSV that says which picture is real, as Kaggle's are; its rows."""

from __future__ import annotations

import csv
import io
from pathlib import PurePosixPath

from deepfake_detector.data.layout import TABLE

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
