"""Reports and bundle that belong together become a candidate; others are refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.registry.candidate import read_candidate


def test_everything_is_read(road: Any) -> None:
    candidate = road.candidate(seed=3)
    assert candidate.name == "tiny 2 epochs on sample 03030303"
    assert candidate.history == ({"epoch": 1, "loss": 0.7, "val_auc": 0.6}, {"epoch": 2, "loss": 0.5, "val_auc": 0.9})
    assert candidate.metrics["calibration_temperature"] == 1.0
    assert candidate.metrics["test_images"] == 200
    assert candidate.metrics["source/sample/accuracy"] == candidate.metrics["test_accuracy"]
    assert candidate.facts.failed_checks == ()
    assert candidate.scores.flag == candidate.bundle.contract.thresholds.flag
    assert [path.name for path in candidate.pages] == ["report.html", "roc.png"]
    assert candidate.tags["data_sha256:sample"] == "d" * 64


def test_scores_are_ordered_by_picture(road: Any) -> None:
    first = road.candidate()
    lines = first.predictions.read_text(encoding="utf-8").splitlines()
    first.predictions.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n", encoding="utf-8")
    again = read_candidate(road.workspace)
    assert np.array_equal(again.scores.p_fake, first.scores.p_fake)
    assert np.array_equal(again.scores.labels, first.scores.labels)


def test_its_digest_tells_another_figure(road: Any) -> None:
    candidate = road.candidate()
    before = candidate.digest
    assert read_candidate(road.workspace).digest == before
    (candidate.figures / "roc.png").write_bytes(b"another")
    assert candidate.digest != before


def test_a_changed_bundle_is_refused(road: Any) -> None:
    candidate = road.candidate()
    (candidate.bundle.path / "detector.onnx").write_bytes(b"another graph")
    with pytest.raises(BundleCorrupt, match=r"detector\.onnx differs"):
        read_candidate(road.workspace)


def test_a_bundle_of_other_weights_is_refused(road: Any) -> None:
    road.candidate()
    path = road.workspace.report("train")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights_sha256": "e" * 64}))
    with pytest.raises(BundleCorrupt, match="eeeeeeeeeeee"):
        read_candidate(road.workspace)


def test_a_missing_report_names_the_next_command(road: Any) -> None:
    road.candidate()
    road.workspace.report("evaluate").unlink()
    with pytest.raises(ModelNotFound, match="make repro"):
        read_candidate(road.workspace)


def test_without_the_report_of_the_checks_nothing_is_known_of_them(road: Any) -> None:
    road.candidate()
    road.workspace.report("validate").unlink()
    assert read_candidate(road.workspace).facts.failed_checks is None


def test_many_sources_are_counted_in_the_name(road: Any) -> None:
    many = {f"a-source-with-a-long-name-{i}": "d" * 64 for i in range(3)}
    assert "on 3 sources" in road.candidate(data_sha256=many).name
