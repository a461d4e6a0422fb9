"""Runs as rows: a store's file gives what MLflow gives, the best come first, and no store is no error."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from deepfake_detector.registry import run_table
from deepfake_detector.registry.model_registry import ModelVersion, RegistrySnapshot
from deepfake_detector.registry.run_table import RunRow, current_name, read_runs, sort_runs, version_label
from deepfake_detector.tracking.runs import start_run
from deepfake_detector.tracking.store import open_client
from tests.pipeline_checkout import EXPERIMENT, PipelineCheckout


def row(run_id: str, started_ms: int = 0, **metrics: float) -> RunRow:
    return RunRow(run_id, run_id, "FINISHED", started_ms, {}, metrics, {})


def test_the_file_and_mlflow_give_the_same_rows(checkout: PipelineCheckout) -> None:
    for i in range(3):
        with start_run(EXPERIMENT, f"run {i}", {"epochs": i}, {"network": "tiny"}) as run:
            run.log_epoch(1, {"loss": 0.1 * i, "val_auc": 0.9})
    client = open_client()
    client.delete_run(run.run_id)
    with start_run("elsewhere", "no", {}, {}):
        pass
    rows = read_runs(EXPERIMENT)
    by_client = run_table._read_by_client(EXPERIMENT, ())
    assert sorted(rows, key=lambda r: r.name) == sorted(by_client, key=lambda r: r.name)
    named = {f"{r.run_id[:8]} run {i}": r for i, r in enumerate(sorted(rows, key=lambda r: r.params["epochs"]))}
    assert {r.name for r in rows} == set(named)  # the id first: MLflow's pages cut long names
    assert {
        name[9:]: (r.metrics["train_loss"], r.params["epochs"], r.tags["network"]) for name, r in named.items()
    } == {
        "run 0": (0.0, "0", "tiny"),
        "run 1": (0.1, "1", "tiny"),
    }


def test_a_versions_run_is_shown_whatever_experiment_it_was_logged_in(checkout: PipelineCheckout) -> None:
    """`register` finds a training by its weights, also one that was logged before the experiment was renamed."""
    runs = {}
    for experiment in (EXPERIMENT, "before", "deleted"):
        with start_run(experiment, experiment, {}, {"network": experiment}) as run:
            runs[experiment] = run.run_id
    open_client().delete_run(runs["deleted"])
    for read in (read_runs, run_table._read_by_client):
        assert {r.run_id for r in read(EXPERIMENT, ())} == {runs[EXPERIMENT]}
        rows = read(EXPERIMENT, [*runs.values(), "f" * 32])
        assert {r.run_id: r.tags["network"] for r in rows} == {runs[name]: name for name in (EXPERIMENT, "before")}
        assert len(rows) == 2
        assert [r.run_id for r in read("no experiment", [runs["before"]])] == [runs["before"]]


def test_the_best_runs_come_first_and_those_without_the_metric_apart() -> None:
    rows = [row("a", auc=0.8), row("b", auc=0.9, ece=0.2), row("c", 5), row("d", 9), row("e", 1, auc=0.9)]
    ranked, rest = sort_runs(rows, "auc")
    assert [r.name for r in ranked] == ["e", "b", "a"]
    assert [r.name for r in rest] == ["d", "c"]
    assert [r.name for r in sort_runs(rows, "auc", lowest=True)[0]] == ["a", "e", "b"]


@pytest.mark.parametrize(
    ("old", "current"),
    [
        ("answered/false_alarms", "at_thresholds/false_positive_rate"),
        ("answered_sent/strict_false_alarms", "at_thresholds_corrupted/false_positive_rate_at_strict"),
        ("answered/accuracy", "at_thresholds/selective_accuracy"),
        ("sent/confusion/true_real", "corrupted/confusion/true_negatives"),
        ("grid/faces/strict_accuracy", "grid/faces/overall_accuracy"),
        ("test_confusion_false_fake", "test_confusion_false_positives"),
        ("probes/alarms", "probes/failed"),
        ("test_auc", "test_auc"),
        ("grid/all/accuracy", "grid/all/accuracy"),
    ],
)
def test_metrics_of_version_0_1_have_their_current_names(old: str, current: str) -> None:
    assert current_name(old) == current_name(current) == current


def test_a_run_of_version_0_1_is_read_and_sorted_under_current_names(checkout: PipelineCheckout) -> None:
    with start_run(EXPERIMENT, "old", {}, {}) as run:
        pass
    client = open_client()
    for name, value in (("sent/auc", 0.8), ("answered/coverage", 0.5), ("at_thresholds/coverage", 0.6)):
        client.log_metric(run.run_id, name, value)
    (found,) = read_runs(EXPERIMENT)
    assert (found.metrics["corrupted/auc"], found.metrics["at_thresholds/coverage"]) == (0.8, 0.6)
    assert found.metrics == run_table._read_by_client(EXPERIMENT, ())[0].metrics
    assert sort_runs([found], "sent/auc")[0] == [found]


def test_the_label_names_versions_and_aliases() -> None:
    versions = (ModelVersion("1", "a", {}), ModelVersion("2", "a", {}), ModelVersion("3", "b", {}))
    snapshot = RegistrySnapshot(versions, {"champion": "2", "previous": "3"})
    assert version_label(row("a"), snapshot) == "1, 2 champion"
    assert version_label(row("b"), snapshot) == "3 previous"
    assert version_label(row("c"), snapshot) == ""


def test_a_trial_is_a_child_of_another_run() -> None:
    assert RunRow("a", "", "FINISHED", 0, {}, {}, {"mlflow.parentRunId": "b"}).is_child
    assert not row("a").is_child


def test_no_experiment_no_store_and_other_tables(
    checkout: PipelineCheckout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert read_runs("nothing") == ()
    assert run_table._read_by_client("nothing", ()) == ()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    assert read_runs(EXPERIMENT) == ()
    shutil.copyfile(checkout.empty_store, tmp_path / "none.db")
    with closing(sqlite3.connect(tmp_path / "none.db")) as connection:  # of another MLflow: its client is asked
        connection.execute("UPDATE alembic_version SET version_num = 'other'")
        connection.commit()
    monkeypatch.setattr(run_table, "_read_by_client", lambda name, _: (row(name),))
    assert read_runs(EXPERIMENT)[0].name == EXPERIMENT


def test_reading_runs_imports_no_heavy_library(checkout: PipelineCheckout) -> None:
    code = (
        "import sys; from deepfake_detector.registry.run_table import read_runs; read_runs('tiny-runs')\n"
        "print([m for m in ('mlflow', 'pandas', 'sklearn', 'tensorflow') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
