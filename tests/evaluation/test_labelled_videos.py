"""Labelled videos are answered by the code that serves, and measured by their answers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from deepfake_detector.config import read_settings
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.videos import videos_zip
from deepfake_detector.evaluation.labelled_videos import COLUMNS, VideoResults, answer_videos, measure_videos
from deepfake_detector.inference.detector import Detector
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.paths import Workspace
from deepfake_detector.stats import auc

ROOT = Path(__file__).parents[2]
NAN = float("nan")
ANSWERS = pd.DataFrame(
    [("a/1", "a", 0, "real", 0.1, ""), ("a/2", "a", 0, "fake", 0.9, ""), ("a/3", "a", 1, "fake", 0.95, ""),
     ("a/4", "a", 1, "inconclusive", 0.6, ""), ("b/1", "b", 1, "real", 0.2, ""), ("b/2", "b", 1, "fake", 0.8, ""),
     ("b/3", "b", 1, "inconclusive", NAN, "no face"), ("a/5", "a", 0, "inconclusive", 0.5, "")],
    columns=list(COLUMNS),
)  # fmt: skip


@pytest.fixture(scope="module")
def measured() -> VideoResults:
    return measure_videos(ANSWERS)


def test_metrics_count_answers_and_not_scores(measured: VideoResults) -> None:
    total = measured.total
    assert (total.reals, total.fakes) == (3, 5)
    assert total.coverage.value == 5 / 8
    assert total.selective_accuracy is not None
    assert total.selective_accuracy.value == 3 / 5
    assert total.false_positive_rate is not None
    assert total.false_positive_rate.value == 1 / 3
    assert total.true_positive_rate is not None
    assert total.true_positive_rate.value == 2 / 5
    assert total.false_negative_rate_at_clear is not None
    assert total.false_negative_rate_at_clear.value == 1 / 5
    scored = ANSWERS[ANSWERS["p_fake"].notna()]
    assert total.auc is not None
    assert total.auc.value == pytest.approx(auc(scored["p_fake"].to_numpy(), scored["label"].to_numpy(np.int64)))


def test_each_source_is_measured_apart(measured: VideoResults) -> None:
    a, b = measured.sources
    assert (a.name, a.reals, a.fakes, b.name, b.reals, b.fakes) == ("a", 3, 2, "b", 0, 3)
    assert b.auc is None
    assert b.false_positive_rate is None
    headline: dict[str, Any] = measured.headline()
    assert headline["per_source"]["b"]["coverage"] == {"value": 2 / 3, "low": b.coverage.low, "high": b.coverage.high}


def test_nothing_answered_has_no_accuracy() -> None:
    none = measure_videos(ANSWERS[ANSWERS["verdict"] == "inconclusive"])
    assert none.total.coverage.value == 0
    assert none.total.selective_accuracy is None


def test_answers_are_those_of_serving(tmp_path: Path, clip: Path, tiny_bundle: Bundle) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["download"]["sources"].append(
        {"name": "clips", "kind": "videos", "location": "clips", "fake_kind": "swap", "use": "test"}
    )
    workspace = Workspace(tmp_path)
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    settings = read_settings(workspace.params)
    file = videos_zip(workspace.raw, "clips")
    file.parent.mkdir(parents=True)
    write_zip(file, [("fake/two.mp4", clip.read_bytes()), ("real/broken.mp4", clip.read_bytes()[:3000])])
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    results = answer_videos(workspace, settings, tiny_bundle, scratch)
    assert results is not None
    served = Detector(tiny_bundle).predict_video(clip)
    answers = results.answers.set_index("path")
    assert answers.loc["clips/fake/two.mp4", "p_fake"] == served.p_fake
    assert answers.loc["clips/fake/two.mp4", "verdict"] == served.verdict
    assert answers.loc["clips/real/broken.mp4", "verdict"] == "inconclusive"
    assert answers.loc["clips/real/broken.mp4", "problem"] != ""
    assert list(scratch.iterdir()) == []
    shutil.rmtree(scratch)


def test_without_videos_there_is_nothing_to_answer(tmp_path: Path, tiny_bundle: Bundle) -> None:
    settings = read_settings(ROOT / "params.yaml")
    assert answer_videos(Workspace(tmp_path), settings, tiny_bundle, tmp_path) is None
