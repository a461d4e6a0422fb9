"""Runs as rows: what the file says is what MLflow says, the best come first, and no store is no error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.registry import run_table
from deepfake_detector.registry.model_registry import Shelf, Version
from deepfake_detector.registry.run_table import Row, best_first, read_rows, standing_of
from deepfake_detector.tracking.runs import start_run
from deepfake_detector.tracking.store import open_client


def row(run_id: str, started_ms: int = 0, **metrics: float) -> Row:
    return Row(run_id, run_id, "FINISHED", started_ms, {}, metrics, {})


def test_the_file_and_mlflow_tell_the_same(road: Any) -> None:
    for i in range(3):
        with start_run("road", f"run {i}", {"epochs": i}, {"network": "tiny"}) as run:
            run.log_epoch(1, {"loss": 0.1 * i, "val_auc": 0.9})
    client = open_client()
    client.delete_run(run.run_id)
    with start_run("elsewhere", "no", {}, {}):
        pass
    rows = read_rows("road")
    assert sorted(rows, key=lambda r: r.name) == sorted(run_table._ask("road"), key=lambda r: r.name)
    assert {r.name: (r.metrics["train_loss"], r.params["epochs"], r.tags["network"]) for r in rows} == {
        "run 0": (0.0, "0", "tiny"),
        "run 1": (0.1, "1", "tiny"),
    }


def test_the_best_first_and_what_was_not_measured_apart() -> None:
    rows = [row("a", auc=0.8), row("b", auc=0.9, ece=0.2), row("c", 5), row("d", 9), row("e", 1, auc=0.9)]
    rated, rest = best_first(rows, "auc")
    assert [r.name for r in rated] == ["e", "b", "a"]
    assert [r.name for r in rest] == ["d", "c"]
    assert [r.name for r in best_first(rows, "auc", lowest=True)[0]] == ["a", "e", "b"]


def test_what_became_of_a_run() -> None:
    shelf = Shelf(
        (Version("1", "a", {}), Version("2", "a", {}), Version("3", "b", {})), {"champion": "2", "previous": "3"}
    )
    assert standing_of(row("a"), shelf) == "1, 2 champion"
    assert standing_of(row("b"), shelf) == "3 previous"
    assert standing_of(row("c"), shelf) == ""


def test_a_trial_knows_its_parent() -> None:
    assert Row("a", "", "FINISHED", 0, {}, {}, {"mlflow.parentRunId": "b"}).is_child
    assert not row("a").is_child


def test_no_store_no_experiment_and_another_layout(road: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert read_rows("nothing") == ()
    assert run_table._ask("nothing") == ()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    assert read_rows("road") == ()
    (tmp_path / "none.db").write_bytes(b"")
    monkeypatch.setattr(run_table, "_ask", lambda name: (row(name),))
    assert read_rows("road")[0].name == "road"


def test_looking_loads_nothing_heavy(road: Any) -> None:
    code = (
        "import sys; from deepfake_detector.registry.run_table import read_rows; read_rows('road')\n"
        "print([m for m in ('mlflow', 'pandas', 'sklearn', 'tensorflow') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
