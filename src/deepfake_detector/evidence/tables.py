"""Probabilities (n,) and labels (n,) of the test pictures -> CSV tables that `dvc plots` draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from deepfake_detector.evidence.metrics import reliability


def write_tables(
    folder: Path, paths: Sequence[str], labels: NDArray[np.int64], p_fake: NDArray[np.float64], bins: int
) -> None:
    """Write predictions.csv, confusion.csv, roc.csv and calibration.csv.

    Args:
        folder: where the tables go; it must exist.
        paths: (n,) of the pictures inside the archive.
        labels: (n,), 1 = fake.
        p_fake: (n,).
        bins: of the reliability table.
    """
    predictions = pd.DataFrame({"path": paths, "label": labels, "p_fake": p_fake}).sort_values("path")
    false_positives, true_positives, _ = roc_curve(labels, p_fake)
    names = np.array(["real", "fake"])
    tables = {
        "predictions": predictions,
        "confusion": pd.DataFrame({"truth": names[labels], "answer": names[(p_fake >= 0.5).astype(int)]}),
        "roc": pd.DataFrame({"false_positive_rate": false_positives, "true_positive_rate": true_positives}),
        "calibration": pd.DataFrame(reliability(p_fake, labels, bins), columns=["p_fake", "share_of_fakes", "images"]),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
