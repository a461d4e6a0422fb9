"""The figures of a search: one line per trial; a figure of an earlier search is deleted."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from deepfake_detector.training import search_figure
from deepfake_detector.training.search_figure import draw_search
from deepfake_detector.training.tuning import TrialResult


def trials(n: int) -> list[TrialResult]:
    rng = np.random.default_rng(0)
    results = []
    for i in range(n):
        value = float(rng.uniform(0.5, 0.9))
        params = {
            "learning_rate": float(10 ** rng.uniform(-4, -2)),
            "batch_size": int(rng.choice([32, 64])),
            "dropout": 0.1,
        }
        results.append(TrialResult(i + 1, "pruned" if i % 4 == 3 else "complete", value, 1, params, "", ""))
    return results


@pytest.mark.parametrize("n", [1, 2, 20])
def test_both_figures_are_written(tmp_path: Path, n: int) -> None:
    files = draw_search(tmp_path / "tune", trials(n), {"learning_rate": 0.7, "batch_size": 0.3}, "val_auc")
    assert [path.name for path in files] == ["parallel_coordinates.png", "importance.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files)


def test_the_line_of_a_trial_passes_through_its_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    figure, axes = plt.subplots()
    search_figure._parallel(axes, trials(9), ["batch_size", "dropout", "learning_rate"], "val_auc")
    lines = [line for line in axes.lines if np.size(line.get_ydata()) == 4]
    assert len(lines) == 9
    rate_of_value: dict[float, float] = {}
    for line in lines:
        y = np.asarray(line.get_ydata())
        assert ((y >= 0) & (y <= 1)).all()
        assert y[0] in (0, 1)  # two choices, top and bottom
        assert y[1] == 0  # one value
        rate_of_value[float(y[3])] = float(y[2])
    values = sorted((t.value or 0, t.params["learning_rate"]) for t in trials(9))
    rates = np.array([rate for _, rate in values])
    expected = (np.log(rates) - np.log(rates).min()) / np.ptp(np.log(rates))
    np.testing.assert_allclose([rate_of_value[y] for y in sorted(rate_of_value)], expected, atol=1e-9)
    (thick,) = (line for line in lines if line.get_linewidth() > 3)
    best = max((t for t in trials(9) if t.state == "complete"), key=lambda t: t.value or 0)
    assert f"trial {best.number}, val_auc {best.value:.4f}" in axes.get_title(loc="left")
    assert thick.get_linestyle() == "-"
    assert sum(line.get_linestyle() == ":" for line in lines) == 2
    plt.close(figure)


def test_without_importance_an_older_figure_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "importance.png").write_bytes(b"old")
    failed = TrialResult(3, "failed", None, 0, trials(1)[0].params, "", "no data")
    assert [path.name for path in draw_search(tmp_path, [*trials(2), failed], {}, "auc")] == [
        "parallel_coordinates.png"
    ]
    assert not (tmp_path / "importance.png").exists()


def test_no_figure_stays_open(tmp_path: Path) -> None:
    draw_search(tmp_path, trials(3), {"dropout": 0.0}, "auc")
    assert not plt.get_fignums()
