"""The tables beside the figures."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from deepfake_detector.evaluation.result_tables import write_curves, write_predictions, write_result_tables
from tests.evaluation.known_case import Case


def test_prediction_tables_hold_scores_and_facets(case: Case, tmp_path: Path) -> None:
    paths = [f"faces/{i}.jpg" for i in range(120)]
    columns = {"source": ["faces"] * 120, "face size": [""] * 120}
    write_predictions(tmp_path, paths, case.labels, case.p_fake, columns)
    write_curves(tmp_path, case.labels, case.p_fake, 10)
    predictions = pd.read_csv(tmp_path / "predictions.csv")
    assert list(predictions.columns) == ["path", "label", "p_fake", "source", "face size"]
    assert list(pd.read_csv(tmp_path / "confusion.csv").columns) == ["actual", "predicted"]


def test_result_tables_hold_what_is_too_long_for_the_report(case: Case, tmp_path: Path) -> None:
    write_result_tables(tmp_path, case.results, case.grid_scores)
    grid = pd.read_csv(tmp_path / "robustness.csv")
    assert len(grid) == 9  # three conditions, for all and for two sources
    assert grid.loc[(grid["condition"] == "JPEG 75") & (grid["source"] == "all"), "accuracy"].item() == 0.9
    assert len(pd.read_csv(tmp_path / "grid_scores.csv")) == 120
    assert json.loads((tmp_path / "slices.json").read_text())[0]["facet"] == "source"
    probes = json.loads((tmp_path / "probes.json").read_text())
    assert {probe["code"] for probe in probes} >= {"recompression", "horizontal flip"}
    assert json.loads((tmp_path / "faithfulness.json").read_text())["crops"] == 6
