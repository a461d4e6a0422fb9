"""Reports and bundle that belong together are read as a candidate, with flat metrics that MLflow accepts."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.registry.candidate import flatten_metrics, flatten_report, read_candidate
from tests.pipeline_checkout import PipelineCheckout

EVALUATION = {
    "test": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}, "images": 7, "confusion": {"true_fake": 3}},
    "calibration": {"temperature": 1.5, "on": "clean"},
    "per_source": {"faces": {"accuracy": {"value": 0.9, "low": 0.8, "high": 1.0}, "images": 4}},
    "grid": {"all": {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}, "coverage": 0.99}},
    "odd": {"JPEG 50 % (q<60)": {"accuracy": 0.5}},
    "test_digest": "abc",
    "flagged": True,
}


def test_all_fields_are_read(checkout: PipelineCheckout) -> None:
    candidate = checkout.candidate(seed=3)
    assert candidate.name == "03030303 tiny 2 epochs on sample"
    params = {"learning_rate": "0.003", "augment": "shift", "self_blend": "0.25", "cutmix": "0.0"}
    named = replace(candidate, params=params).name
    assert named == "03030303 tiny 2 epochs lr 0.003 shift self_blend 0.25 on sample"
    assert candidate.history == ({"epoch": 1, "loss": 0.7, "val_auc": 0.6}, {"epoch": 2, "loss": 0.5, "val_auc": 0.9})
    assert candidate.metrics["calibration_temperature"] == 1.0
    assert candidate.metrics["test_images"] == 200
    assert candidate.metrics["source/sample/accuracy"] == candidate.metrics["test_accuracy"]
    assert candidate.facts.failed_checks == ()
    assert candidate.scores.flag == candidate.bundle.contract.thresholds.flag
    assert [path.name for path in candidate.figure_files] == ["report.html", "roc.png"]
    assert candidate.tags["data_sha256:sample"] == "d" * 64


def test_scores_are_sorted_by_path(checkout: PipelineCheckout) -> None:
    first = checkout.candidate()
    lines = first.predictions.read_text(encoding="utf-8").splitlines()
    first.predictions.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n", encoding="utf-8")
    second = read_candidate(checkout.workspace)
    assert np.array_equal(second.scores.p_fake, first.scores.p_fake)
    assert np.array_equal(second.scores.labels, first.scores.labels)


def test_the_digest_changes_with_a_figure(checkout: PipelineCheckout) -> None:
    candidate = checkout.candidate()
    before = candidate.digest
    assert read_candidate(checkout.workspace).digest == before
    (candidate.figures / "roc.png").write_bytes(b"another")
    assert candidate.digest != before


def test_a_changed_bundle_is_an_error(checkout: PipelineCheckout) -> None:
    candidate = checkout.candidate()
    (candidate.bundle.path / "detector.onnx").write_bytes(b"another graph")
    with pytest.raises(BundleCorrupt, match=r"detector\.onnx differs"):
        read_candidate(checkout.workspace)


def test_a_bundle_of_other_weights_is_an_error(checkout: PipelineCheckout) -> None:
    checkout.candidate()
    path = checkout.workspace.report("train")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights_sha256": "e" * 64}))
    with pytest.raises(BundleCorrupt, match="eeeeeeeeeeee"):
        read_candidate(checkout.workspace)


def test_a_missing_report_names_the_next_command(checkout: PipelineCheckout) -> None:
    checkout.candidate()
    checkout.workspace.report("evaluate").unlink()
    with pytest.raises(ModelNotFound, match="make repro"):
        read_candidate(checkout.workspace)


def test_without_a_validation_report_the_failed_checks_are_unknown(checkout: PipelineCheckout) -> None:
    checkout.candidate()
    checkout.workspace.report("validate").unlink()
    assert read_candidate(checkout.workspace).facts.failed_checks is None


def test_the_name_counts_sources_that_are_too_many_to_list(checkout: PipelineCheckout) -> None:
    many = {f"a-source-with-a-long-name-{i}": "d" * 64 for i in range(3)}
    assert "on 3 sources" in checkout.candidate(data_sha256=many).name


def test_flat_metrics_are_grouped_by_section() -> None:
    assert flatten_report(EVALUATION) == {
        "test_accuracy": 0.9,
        "test_accuracy_low": 0.8,
        "test_accuracy_high": 0.95,
        "test_images": 7.0,
        "test_confusion_true_fake": 3.0,
        "calibration_temperature": 1.5,
        "source/faces/accuracy": 0.9,
        "source/faces/images": 4.0,
        "grid/all/accuracy": 0.7,
        "grid/all/coverage": 0.99,
        "odd/JPEG 50 _ _q_60_/accuracy": 0.5,
    }


def test_mlflow_accepts_every_name_of_a_metric(libraries: None) -> None:
    from mlflow.utils.validation import _validate_metric_name

    for name in flatten_report(EVALUATION):
        _validate_metric_name(name)  # type: ignore[no-untyped-call]


def test_flat_metrics_keep_intervals_and_drop_text() -> None:
    nested = {"auc": {"value": 0.9, "low": 0.8}, "confusion": {"a": 3}, "images": 7, "text": "x", "flag": True}
    assert flatten_metrics(nested) == {"auc": 0.9, "auc_low": 0.8, "confusion_a": 3.0, "images": 7.0}


def test_metrics_of_sources_left_out_and_videos_are_grouped_for_mlflow() -> None:
    """In-domain and left-out metrics stand side by side in MLflow's comparison of runs."""
    estimate = {"value": 0.8, "low": 0.7, "high": 0.9}
    source = {"images": 40, "left_out": True, "auc": estimate, "auc_against": "reals of faces", "coverage": estimate}
    report = {
        "test": {"auc": estimate},
        "per_source": {"portraits": source},
        "left_out": {"images": 40, "auc": estimate},
        "videos": {"reals": 3, "auc": estimate, "per_source": {"clips": {"coverage": estimate}}},
    }
    assert flatten_report(report) == {
        "test_auc": 0.8,
        "test_auc_low": 0.7,
        "test_auc_high": 0.9,
        "source/portraits/images": 40.0,
        "source/portraits/auc": 0.8,
        "source/portraits/coverage": 0.8,
        "left_out/images": 40.0,
        "left_out/auc": 0.8,
        "videos/reals": 3.0,
        "videos/auc": 0.8,
        "videos/per_source/clips/coverage": 0.8,
    }
