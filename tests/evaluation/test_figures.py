"""Pictures of a test split, tables beside them."""

import json

import pandas as pd

from deepfake_detector.evaluation.figures import draw_all
from deepfake_detector.evaluation.result_tables import write_findings, write_tables

HISTORY = pd.DataFrame({"epoch": [1, 2], "accuracy": [0.5, 0.6], "val_accuracy": [0.5, 0.6], "val_auc": [0.5, 0.7]})


def test_every_picture_is_drawn_and_thresholds_are_told(case, tmp_path, monkeypatch) -> None:
    labels: list[str] = []
    legend = "matplotlib.axes.Axes.legend"
    monkeypatch.setattr(legend, lambda self, **_: labels.extend(self.get_legend_handles_labels()[1]))
    files = draw_all(tmp_path, case.p_fake, case.p_fake**0.5, case.labels, HISTORY, case.found.test,
                     case.contract.thresholds, 10)  # fmt: skip
    assert [file.stem for file in files] == ["confusion_matrix", "roc", "calibration", "scores", "history"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    band = case.found.band
    assert f"flag: {band.caught.value:.1%} of fakes, {band.false_alarms.value:.1%} of real ones" in labels
    assert any(label.startswith("before: ECE") for label in labels)


def test_tables_hold_what_the_metrics_file_has_no_room_for(case, tmp_path) -> None:
    paths = [f"faces/{i}.jpg" for i in range(120)]
    facets = {"source": ["faces"] * 120, "face size": [""] * 120}
    write_tables(tmp_path, paths, case.labels, case.p_fake, 10, facets)
    write_findings(tmp_path, case.found, case.scored)
    predictions = pd.read_csv(tmp_path / "predictions.csv")
    assert list(predictions.columns) == ["path", "label", "p_fake", "source", "face size"]
    grid = pd.read_csv(tmp_path / "robustness.csv")
    assert len(grid) == 9  # three conditions, for all and for two sources
    assert grid.loc[(grid["condition"] == "JPEG 75") & (grid["source"] == "all"), "accuracy"].item() == 0.9
    assert len(pd.read_csv(tmp_path / "degraded.csv")) == 120
    assert json.loads((tmp_path / "slices.json").read_text())[0]["facet"] == "source"
    assert {probe["name"] for probe in json.loads((tmp_path / "probes.json").read_text())} >= {"saved again", "flipped"}
    assert json.loads((tmp_path / "explanation.json").read_text())["crops"] == 6
