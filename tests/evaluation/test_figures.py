"""Figures of a test split, and the examples they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from deepfake_detector.evaluation.figures import (
    ExampleCrops,
    draw_examples,
    draw_figures,
    heatmap_overlay,
    most_confident,
)
from tests.evaluation.known_case import Case

HISTORY = pd.DataFrame({"epoch": [1, 2], "accuracy": [0.5, 0.6], "val_accuracy": [0.5, 0.6], "val_auc": [0.5, 0.7]})


def test_every_figure_is_drawn_and_names_the_thresholds(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels: list[str] = []
    legend = "matplotlib.axes.Axes.legend"
    monkeypatch.setattr(legend, lambda self, **_: labels.extend(self.get_legend_handles_labels()[1]))
    files = draw_figures(tmp_path, case.p_fake, case.p_fake**0.5, case.labels, HISTORY, case.results.test,
                         case.contract.thresholds, 10)  # fmt: skip
    assert [file.stem for file in files] == ["confusion_matrix", "roc", "calibration", "scores", "history"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    at = case.results.at_thresholds
    assert f"flag: TPR {at.true_positive_rate.value:.1%}, FPR {at.false_positive_rate.value:.1%}" in labels
    assert any(label.startswith("before: ECE") for label in labels)


def test_half_of_the_examples_are_of_each_class() -> None:
    p = np.array([0.01, 0.30, 0.45, 0.90, 0.60, 0.99, 0.20, 0.55])
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    assert most_confident(p, labels, correct=True, count=4).tolist() == [0, 1, 5, 3]
    assert most_confident(p, labels, correct=False).tolist() == [7, 6]


def test_one_class_fills_up_where_the_other_is_short() -> None:
    p, labels = np.linspace(0.6, 0.99, 12), np.array([1] * 11 + [0])
    rows = most_confident(p, labels, correct=True)
    assert len(rows) == 10
    assert rows[0] == 10
    assert most_confident(p, labels, correct=False).tolist() == [11]


def test_the_heatmap_is_red_for_fake_blue_against_it_and_grey_without_evidence() -> None:
    grey = np.full((32, 32, 3), 100, np.uint8)
    maps = np.array([[9.0, 0.0], [0.0, -9.0]], np.float32)
    found = heatmap_overlay(grey, maps).astype(int)
    assert found[0, 0, 0] > found[0, 0, 2] + 50
    assert found[31, 31, 2] > found[31, 31, 0] + 50
    assert np.ptp(heatmap_overlay(grey, np.zeros((4, 4), np.float32))) == 0
    one_cell = heatmap_overlay(grey, np.array([[9.0]], np.float32))
    assert one_cell.std(axis=(0, 1)).max() == 0


def test_the_figure_grows_with_the_examples_and_may_be_empty(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    crops, maps = rng.integers(0, 255, (7, 24, 24, 3), dtype=np.uint8), rng.normal(0, 2, (7, 3, 3))
    examples = ExampleCrops(crops, maps.astype(np.float32), rng.random(7), rng.integers(0, 2, 7), ["faces"] * 7)
    two_lines, one_line, none = (
        draw_examples(tmp_path / f"{n}.png", examples, np.arange(n, dtype=np.int64), "Examples") for n in (7, 2, 0)
    )
    with Image.open(two_lines) as tall, Image.open(one_line) as short, Image.open(none) as empty:
        assert tall.height > 1.7 * short.height
        assert empty.size == short.size
