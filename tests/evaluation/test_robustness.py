"""The grid's figures: per condition, per source, and their mean."""

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.evaluation.robustness import ALL, measure_grid, measure_outcomes, worst


def test_figures_of_each_condition(case) -> None:
    clean, mild, hard = case.found.grid.of()
    assert [o.condition for o in (clean, mild, hard)] == ["clean", "JPEG 75", "JPEG 30"]
    assert clean.accuracy.value == clean.coverage.value == clean.auc.value == 1.0
    assert mild.accuracy.value == 36 / 40
    assert mild.caught.value == 16 / 20
    assert mild.false_alarms.value == 0.0
    assert hard.coverage.value == 36 / 40
    assert hard.accuracy.value == 20 / 36  # all judged ones are called fake
    assert hard.strict_accuracy.value == 20 / 40
    assert hard.false_alarms.value == 1.0


def test_each_source_has_its_own(case) -> None:
    grid = case.found.grid
    assert grid.sources == ["faces", "swaps"]
    assert sum(grid.of(source)[2].images for source in grid.sources) == 40
    assert grid.means[ALL].images == 40


def test_the_mean_leaves_the_clean_pictures_out(case) -> None:
    mean = case.found.grid.means[ALL]
    assert mean.accuracy.value == pytest.approx((36 / 40 + 20 / 36) / 2)
    assert mean.strict_accuracy.value == pytest.approx((36 / 40 + 20 / 40) / 2)
    assert mean.coverage == pytest.approx(76 / 80)
    assert mean.accuracy.low < mean.accuracy.value < mean.accuracy.high


def test_conditions_of_one_picture_are_not_independent() -> None:
    rows = [(f"{i}", "s", i % 2, c, "f", 0.0, 0.9 if (i % 4 < 2) == bool(i % 2) else 0.1)
            for c in ("clean", *"abcdefgh") for i in range(60)]  # fmt: skip
    scored = pd.DataFrame(rows, columns=["path", "source", "label", "condition", "family", "level", "p_fake"])
    mean = measure_grid(scored, 0.5, 300).means[ALL].accuracy
    # Half of the pictures are wrong in all eight conditions: 60 answers are known, not 480.
    assert mean.high - mean.low > 0.2


def test_one_source_is_all_there_is(case) -> None:
    scored = case.scored.assign(source="faces")
    grid = measure_grid(scored, 0.7, 50)
    assert grid.sources == []
    assert len(grid.outcomes) == 3
    assert [o.source for o in measure_outcomes(scored, 0.7)] == [ALL] * 3


def test_the_worst_come_first_and_clean_is_none_of_them(case) -> None:
    assert [o.condition for o in worst(case.found.grid.of())] == ["JPEG 30", "JPEG 75"]


def test_a_row_holds_every_end_of_every_interval(case) -> None:
    row = case.found.grid.of()[1].as_row()
    assert row["accuracy"] == 0.9
    assert row["accuracy_low"] < 0.9 < row["accuracy_high"]
    nothing = case.scored.assign(p_fake=np.nan)
    empty = measure_outcomes(nothing, 0.7)[0]
    assert empty.as_row()["auc"] is None
    assert empty.coverage.value == 0.0
