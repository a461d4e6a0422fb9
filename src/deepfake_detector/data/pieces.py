"""Rows that a killed run left behind -> the table of them, if it is whole."""

from __future__ import annotations

from pathlib import Path

import pandas as pd


def read_piece(file: Path | None) -> pd.DataFrame | None:
    """Read a piece that was written whole; None if there is none, or a failing disk left less than a table."""
    if file is None or not file.is_file():
        return None
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError):  # of which pyarrow's own errors are kinds
        return None
