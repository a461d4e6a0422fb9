"""Scores (n,) and results -> CSV for `dvc plots`, long tables as CSV and JSON, and the few numbers of `dvc metrics`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from deepfake_detector.evaluation.metrics import reliability_curve
from deepfake_detector.evaluation.results import EvaluationResults
from deepfake_detector.evaluation.robustness_metrics import ALL_SOURCES

SOURCE_METRICS = (  # by source, for DVC
    *("accuracy", "auc", "coverage", "false_positive_rate", "true_positive_rate", "false_negative_rate_at_clear"),
)


def write_predictions(
    folder: Path,
    paths: Sequence[str],
    labels: NDArray[np.int64],
    p_fake: NDArray[np.float64],
    columns: Mapping[str, Sequence[str]],
) -> None:
    """Write predictions.csv, a row per test picture, which the registry reads.

    Args:
        folder: where the table goes; it must exist.
        paths: (n,) of the pictures inside the archive.
        labels: (n,), 1 = fake.
        p_fake: (n,).
        columns: property -> (n,) its value for each picture.
    """
    table = pd.DataFrame({"path": paths, "label": labels, "p_fake": p_fake, **columns}).sort_values("path")
    table.to_csv(folder / "predictions.csv", index=False)


def write_curves(folder: Path, labels: NDArray[np.int64], p_fake: NDArray[np.float64], bins: int) -> None:
    """Write confusion.csv, roc.csv and calibration.csv.

    Args:
        folder: where the tables go; it must exist.
        labels: (n,), 1 = fake.
        p_fake: (n,).
        bins: of the reliability curve.
    """
    false_positive_rate, true_positive_rate, _ = roc_curve(labels, p_fake)
    curve = reliability_curve(p_fake, labels, bins)
    names = np.array(["real", "fake"])
    tables = {
        "confusion": pd.DataFrame({"actual": names[labels], "predicted": names[(p_fake >= 0.5).astype(int)]}),
        "roc": pd.DataFrame({"false_positive_rate": false_positive_rate, "true_positive_rate": true_positive_rate}),
        "calibration": pd.DataFrame(curve, columns=["p_fake", "share_of_fakes", "images"]),
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def write_result_tables(folder: Path, results: EvaluationResults, grid_scores: pd.DataFrame) -> None:
    """Write the results that are too long for reports/evaluate.json.

    robustness.csv (a row per condition and source), robustness_plot.csv, grid_scores.csv (a row per picture and
    condition), slices.json, probes.json, calibration.json, targets.json, with heatmaps faithfulness.json, and with
    labelled videos videos.csv (a row per video).

    Args:
        folder: where the tables go; it must exist.
        results: everything.
        grid_scores: the rows behind the grid.
    """
    rows = [condition.as_row() for condition in results.grid.conditions]
    pd.DataFrame(rows).to_csv(folder / "robustness.csv", index=False)
    overall = results.grid.of_source(ALL_SOURCES)
    plot = {"condition": [c.condition for c in overall], "accuracy": [c.accuracy.value for c in overall]}
    pd.DataFrame(plot).to_csv(folder / "robustness_plot.csv", index=False)
    grid_scores[["condition", "path", "label", "p_fake"]].to_csv(folder / "grid_scores.csv", index=False)
    if results.videos:
        results.videos.answers.to_csv(folder / "videos.csv", index=False)
    tables: dict[str, Any] = {
        "slices": [each.as_dict() for each in results.slices],
        "probes": [probe.as_dict() for probe in results.probes],
        "calibration": [each.as_dict() for each in results.calibration],
        "targets": [vars(target) for target in results.targets],
    }
    if results.faithfulness:
        tables["faithfulness"] = results.faithfulness.as_dict()
    for name, content in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def key_metrics(report: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers by which two models are compared first: `dvc metrics show` makes a column of each.

    Args:
        report: the content of reports/evaluate.json.
    """
    test, at_thresholds = report["test"], report["at_thresholds"]
    metrics = {name: test[name]["value"] for name in ("accuracy", "auc", "ece") if name in test}
    metrics["robust_accuracy"] = report["grid"][ALL_SOURCES]["accuracy"]["value"]  # mean over all corruptions
    metrics["coverage"] = at_thresholds["coverage"]["value"]
    metrics["false_positive_rate"] = at_thresholds["false_positive_rate"]["value"]
    for medium in ("left_out", "videos"):
        if medium in report:
            metrics[medium] = _values(report[medium], report[medium])
    return metrics | {source: _values(values, SOURCE_METRICS) for source, values in report["per_source"].items()}


def _values(metrics: Mapping[str, Any], names: Iterable[str]) -> dict[str, float]:
    """The values of some estimates, without intervals; names that are missing, and other entries, are left out."""
    found = {name: metrics.get(name) for name in names}
    return {name: each["value"] for name, each in found.items() if isinstance(each, Mapping) and "value" in each}
