"""A manifest -> the two tables that checks look at: one row per file, and one row per split and class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from deepfake_detector.data.archives import LABELS, SPLITS


def file_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """The manifest and what follows from it.

    Returns:
        The same rows with `side_px` (the shorter side; missing if unreadable), `splits` (in how many splits the same
        bytes lie) and `copies` (how often they lie in this row's split).
    """
    table = manifest.copy()
    readable = table["error"] == ""
    table["side_px"] = np.where(readable, np.minimum(table["width_px"], table["height_px"]), np.nan)
    table["splits"] = table.groupby("sha256")["split"].transform("nunique")
    table["copies"] = table.groupby(["sha256", "split"])["path"].transform("size")
    return table


def class_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Readable pictures per split and class, the empty ones included.

    Returns:
        Six rows: `path` (split/class, named so because reports name offenders by path), `images`, and `imbalance`,
        the split's |real - fake| / all (1 if it is empty).
    """
    readable = manifest[manifest["error"] == ""]
    rows = []
    for split in SPLITS:
        count = {
            name: int(((readable["split"] == split) & (readable["label"] == n)).sum()) for name, n in LABELS.items()
        }
        total = sum(count.values())
        imbalance = abs(count["real"] - count["fake"]) / total if total else 1.0
        rows += [{"path": f"{split}/{name}", "images": n, "imbalance": imbalance} for name, n in count.items()]
    return pd.DataFrame(rows)
