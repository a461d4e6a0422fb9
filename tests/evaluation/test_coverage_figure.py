"""The figure of coverage has a bar per class of each source, and the parts of a bar add up to all pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepfake_detector.evaluation.coverage_figure import coverage_rows, draw_coverage
from deepfake_detector.evaluation.labelled_videos import measure_videos
from deepfake_detector.evaluation.source_metrics import measure_sources
from deepfake_detector.model.bundle import Thresholds
from tests.evaluation.known_case import Case
from tests.evaluation.test_labelled_videos import ANSWERS

THRESHOLDS = Thresholds(clear=0.3, flag=0.7, strict=0.9)
P_FAKE = np.array([0.1, 0.2, 0.5, 0.9, 0.8, 0.5, 0.1, 0.1, 0.5, 0.5])
LABELS = np.array([0] * 4 + [1] * 4 + [1] * 2, np.int64)
SOURCES = ["faces"] * 8 + ["portraits"] * 2


def test_bars_are_shares_of_each_class(case: Case) -> None:
    sources = measure_sources(P_FAKE, LABELS, SOURCES, {"portraits"}, THRESHOLDS)
    rows = coverage_rows(replace(case.results, sources=tuple(sources)))
    assert [(row.label, row.right, row.wrong, row.left_out) for row in rows] == [
        ("faces: 4 real pictures", pytest.approx(0.5), 0.25, False),
        ("faces: 4 fake pictures", 0.25, 0.5, False),
        ("portraits: 2 fake pictures", 0.0, 0.0, True),
    ]
    assert rows[0].unanswered == pytest.approx(0.25)
    assert rows[0].accuracy is not None
    assert rows[0].accuracy.value == pytest.approx(2 / 3)
    assert rows[2].accuracy is None


def test_videos_follow_the_pictures(case: Case) -> None:
    rows = coverage_rows(replace(case.results, videos=measure_videos(ANSWERS)))
    assert [row.label for row in rows[-3:]] == ["a: 3 real videos", "a: 2 fake videos", "b: 3 fake videos"]
    assert [rows[-3].right, rows[-3].wrong] == pytest.approx([1 / 3, 1 / 3])


def test_the_figure_is_written(case: Case, tmp_path: Path) -> None:
    results = replace(case.results, videos=measure_videos(ANSWERS))
    assert draw_coverage(tmp_path / "coverage.png", results).read_bytes().startswith(b"\x89PNG")
