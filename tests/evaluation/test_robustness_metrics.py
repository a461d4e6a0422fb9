"""Metrics of the corruption grid: per condition, per source, their mean, and the figure."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from deepfake_detector.evaluation.robustness_metrics import (
    ALL_SOURCES,
    draw_robustness,
    measure_conditions,
    measure_grid,
    worst_conditions,
)
from deepfake_detector.stats import Estimate
from tests.evaluation.known_case import COLUMNS, Case


def value(estimate: Estimate | None) -> float:
    assert estimate is not None
    return estimate.value


def test_metrics_of_each_condition(case: Case) -> None:
    clean, mild, hard = case.results.grid.of_source()
    assert [each.condition for each in (clean, mild, hard)] == ["clean", "JPEG 75", "JPEG 30"]
    assert clean.accuracy.value == clean.coverage.value == value(clean.auc) == 1.0
    assert mild.accuracy.value == 36 / 40
    assert value(mild.true_positive_rate) == 16 / 20
    assert value(mild.false_positive_rate) == 0.0
    assert hard.coverage.value == 36 / 40
    assert hard.accuracy.value == 20 / 36  # all scored pictures are called fake
    assert hard.overall_accuracy.value == 20 / 40
    assert value(hard.false_positive_rate) == 1.0


def test_each_source_has_its_own_metrics(case: Case) -> None:
    grid = case.results.grid
    assert grid.sources == ["faces", "swaps"]
    assert sum(grid.of_source(source)[2].images for source in grid.sources) == 40
    assert grid.means[ALL_SOURCES].images == 40


def test_the_mean_excludes_the_clean_condition(case: Case) -> None:
    mean = case.results.grid.means[ALL_SOURCES]
    assert mean.accuracy.value == pytest.approx((36 / 40 + 20 / 36) / 2)
    assert mean.overall_accuracy.value == pytest.approx((36 / 40 + 20 / 40) / 2)
    assert mean.coverage == pytest.approx(76 / 80)
    assert mean.accuracy.low < mean.accuracy.value < mean.accuracy.high


def test_a_condition_without_a_score_has_no_part_in_the_mean_accuracy(case: Case) -> None:
    scores = case.grid_scores
    refused = scores.assign(p_fake=scores["p_fake"].where(scores["condition"] != "JPEG 30"))
    mean = measure_grid(refused, 0.7, 100).means[ALL_SOURCES]
    assert mean.accuracy.value == pytest.approx(36 / 40)
    assert mean.overall_accuracy.value == pytest.approx(36 / 40 / 2)
    assert mean.coverage == pytest.approx(1 / 2)
    nothing = measure_grid(scores.assign(p_fake=np.nan), 0.7, 100).means[ALL_SOURCES]
    assert nothing.accuracy.value == nothing.coverage == 0


def test_conditions_of_one_picture_are_not_independent() -> None:
    rows = [(f"{i}", "s", i % 2, c, "f", 0.0, 0.9 if (i % 4 < 2) == bool(i % 2) else 0.1)
            for c in ("clean", *"abcdefgh") for i in range(60)]  # fmt: skip
    mean = measure_grid(pd.DataFrame(rows, columns=COLUMNS), 0.5, 300).means[ALL_SOURCES].accuracy
    # Half of the pictures are wrong under all eight conditions: there are 60 observations, not 480.
    assert mean.high - mean.low > 0.2


def test_a_single_source_is_reported_once(case: Case) -> None:
    scores = case.grid_scores.assign(source="faces")
    grid = measure_grid(scores, 0.7, 50)
    assert grid.sources == []
    assert len(grid.conditions) == 3
    assert [each.source for each in measure_conditions(scores, 0.7)] == [ALL_SOURCES] * 3


def test_the_worst_corruptions_come_first(case: Case) -> None:
    assert [each.condition for each in worst_conditions(case.results.grid.of_source())] == ["JPEG 30", "JPEG 75"]


def test_a_row_holds_both_ends_of_each_interval(case: Case) -> None:
    row = case.results.grid.of_source()[1].as_row()
    assert row["accuracy"] == 0.9
    assert row["accuracy_low"] < 0.9 < row["accuracy_high"]
    empty = measure_conditions(case.grid_scores.assign(p_fake=np.nan), 0.7)[0]
    assert empty.as_row()["auc"] is None
    assert empty.coverage.value == 0.0


def test_panels_are_ordered_by_severity(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: list[list[str]] = []
    monkeypatch.setattr(Axes, "set_xticks", lambda self, positions, labels: ticks.append(labels))
    draw_robustness(tmp_path / "grid.png", case.results.grid)
    assert ticks == [["clean", "75", "30"]]
    assert plt.get_fignums() == []


def test_the_same_grid_gives_the_same_bytes(case: Case, tmp_path: Path) -> None:
    one, two = (draw_robustness(tmp_path / name, case.results.grid).read_bytes() for name in ("a.png", "b.png"))
    assert one == two
    assert one.startswith(b"\x89PNG")
