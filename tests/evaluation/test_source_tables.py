"""The card's tables by source name what a figure was measured against, and where the model fails."""

from __future__ import annotations

import numpy as np

from deepfake_detector.evaluation.labelled_videos import measure_videos
from deepfake_detector.evaluation.source_metrics import measure_left_out, measure_sources
from deepfake_detector.evaluation.source_tables import left_out_table, source_table, video_table, weak_sources
from deepfake_detector.model.bundle import Thresholds
from tests.evaluation.test_labelled_videos import ANSWERS

THRESHOLDS = Thresholds(clear=0.3, flag=0.7, strict=0.9)
NAMES = ["faces"] * 80 + ["celeba"] * 40 + ["web"] * 40 + ["portraits"] * 40
LABELS = np.array([0, 1] * 40 + [0] * 80 + [1] * 40, np.int64)
# All left-out fakes are called real.
P_FAKE = np.where(np.array(NAMES) == "portraits", 0.2, np.where(LABELS == 1, 0.9, 0.1))
LEFT_OUT = {"portraits"}
SOURCES = measure_sources(P_FAKE, LABELS, NAMES, LEFT_OUT, THRESHOLDS)


def test_sources_of_one_class_share_a_line_that_names_the_others() -> None:
    table = source_table(SOURCES)
    assert "- \\* `celeba`, `web`: against fakes of faces, portraits" in table
    assert "- \\* `portraits`: against reals of celeba, faces, web" in table
    assert "| `portraits` (not trained on) | 0, 40 |" in table
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1


def test_sources_with_both_classes_need_no_line() -> None:
    faces = [each for each in SOURCES if each.name == "faces"]
    assert "against" not in source_table(faces)


def test_failures_on_left_out_sources_are_named() -> None:
    lines = weak_sources(SOURCES)
    assert lines == ["source `portraits`, not trained on: 100.0% of its fakes are called real"]
    swapped = measure_sources(1 - P_FAKE, LABELS, NAMES, LEFT_OUT, THRESHOLDS)
    assert any("portraits`, not trained on: AUC" in line for line in weak_sources(swapped))
    assert not any("faces" in line for line in weak_sources(swapped))  # the card names weak trained sources elsewhere


def test_the_left_out_sources_have_a_table_or_a_sentence() -> None:
    table = left_out_table(measure_left_out(P_FAKE, LABELS, NAMES, LEFT_OUT, SOURCES))
    assert "| not trained on | 40 pictures |" in table
    assert "| highest false positive rate at `flag` | not measured |" in table
    assert "No source was left out" in left_out_table(None)


def test_videos_have_a_table_or_a_sentence() -> None:
    table = video_table(measure_videos(ANSWERS))
    assert "| `b` | 0, 3 | one class only |" in table
    assert table.splitlines()[-1].startswith("| all | 3, 5 |")
    assert "No labelled videos" in video_table(None)
