"""Scores (n,) and figures -> CSV for `dvc plots`, long tables as CSV and JSON, and the few figures of `dvc metrics`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from deepfake_detector.evaluation.metrics import reliability
from deepfake_detector.evaluation.results import Findings
from deepfake_detector.evaluation.robustness import ALL


def write_tables(
    folder: Path,
    paths: Sequence[str],
    labels: NDArray[np.int64],
    p_fake: NDArray[np.float64],
    bins: int,
    facets: Mapping[str, Sequence[str]],
) -> None:
    """Write predictions.csv, confusion.csv, roc.csv and calibration.csv.

    Args:
        folder: where the tables go; it must exist.
        paths: (n,) of the pictures inside the archive.
        labels: (n,), 1 = fake.
        p_fake: (n,).
        bins: of the reliability table.
        facets: what is told apart -> (n,) the kind of each picture: columns of predictions.csv, read by the registry.
    """
    predictions = pd.DataFrame({"path": paths, "label": labels, "p_fake": p_fake, **facets}).sort_values("path")
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


def write_findings(folder: Path, found: Findings, scored: pd.DataFrame) -> None:
    """Write what the metrics file has no room for.

    robustness.csv (a row per condition and source), degraded.csv (a row per picture and condition), slices.json,
    probes.json, calibrated.json, and if there is one explanation.json.

    Args:
        folder: where the tables go; it must exist.
        found: everything.
        scored: the rows behind the grid.
    """
    pd.DataFrame([outcome.as_row() for outcome in found.grid.outcomes]).to_csv(folder / "robustness.csv", index=False)
    overall = found.grid.of(ALL)
    shares = {"condition": [o.condition for o in overall], "accuracy": [o.accuracy.value for o in overall]}
    pd.DataFrame(shares).to_csv(folder / "robustness_plot.csv", index=False)
    scored[["condition", "path", "label", "p_fake"]].to_csv(folder / "degraded.csv", index=False)
    tables: dict[str, Any] = {
        "slices": [each.as_dict() for each in found.slices],
        "probes": [probe.as_dict() for probe in found.probes],
        "calibrated": [each.as_dict() for each in found.calibrated],
        "goals": [vars(goal) for goal in found.goals],
    }
    if found.explanation:
        tables["explanation"] = found.explanation.as_dict()
    for name, content in tables.items():
        _write_json(folder / f"{name}.json", content)


def _write_json(path: Path, content: Sequence[Any] | Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def key_metrics(report: Mapping[str, Any]) -> dict[str, Any]:
    """What two models are compared by first: `dvc metrics show` makes a column of every number it is given.

    Args:
        report: what reports/evaluate.json holds.
    """
    test, answered = report["test"], report["answered"]
    few = {name: test[name]["value"] for name in ("accuracy", "auc", "ece") if name in test}
    few["worn"] = report["grid"][ALL]["accuracy"]["value"]  # mean accuracy over all kinds of wear
    few["coverage"] = answered["coverage"]["value"]  # answered, not "inconclusive"
    few["false_alarms"] = answered["false_alarms"]["value"]  # real faces called fake at `flag`
    return few | {
        source: {name: figures[name]["value"] for name in ("accuracy", "auc") if name in figures}
        for source, figures in report["per_source"].items()
    }
