"""A training's run: metrics, status, resuming; a search's runs: trials are children of its run."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest

from deepfake_detector.tracking.runs import (
    TrainingRun,
    log_search_results,
    log_trial_result,
    start_run,
    start_search,
    trial_tags,
)
from deepfake_detector.tracking.store import fetch_artifact, open_client

EXPERIMENT = "experiment"
METRICS = {"epoch": 1, "loss": 0.7, "val_auc": 0.6}

pytestmark = pytest.mark.usefixtures("store_folder")


def start(resume_run_id: str | None = None, **params: object) -> TrainingRun:
    return start_run(EXPERIMENT, "tiny-2ep", {"epochs": 2} | params, {"network": "tiny"}, resume_run_id)


def losses(run_id: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in open_client().get_metric_history(run_id, "train_loss")]


def test_a_finished_run_has_params_tags_and_metrics() -> None:
    import mlflow

    with start() as run:
        run.log_epoch(1, METRICS)
        run.log_epoch(2, {"epoch": 2, "loss": 0.5, "val_auc": 0.8})
        assert mlflow.active_run() is None
    found = open_client().get_run(run.run_id)
    assert (found.info.status, found.info.run_name) == ("FINISHED", f"{run.run_id[:8]} tiny-2ep")
    assert (found.data.params, found.data.tags["network"]) == ({"epochs": "2"}, "tiny")
    assert found.data.metrics == {"train_loss": 0.5, "val_auc": 0.8}
    assert losses(run.run_id) == [(1, 0.7), (2, 0.5)]


def test_system_metrics_are_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.01")
    monkeypatch.setattr("deepfake_detector.tracking.runs.SAMPLES_TO_MEAN", 1)
    metrics: dict[str, float] = {}
    with start() as run:
        deadline = time.monotonic() + 60
        while not metrics and time.monotonic() < deadline:
            time.sleep(0.02)
            metrics = open_client().get_run(run.run_id).data.metrics
    assert 0 <= metrics["system/cpu_utilization_percentage"] <= 100
    assert metrics["system/system_memory_usage_megabytes"] > 0
    assert not [thread for thread in threading.enumerate() if thread.name == "SystemMetricsMonitor"]


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_an_exception_sets_the_status_of_the_run(error: type[BaseException], status: str) -> None:
    run = start()
    with pytest.raises(error), run:
        raise error
    assert open_client().get_run(run.run_id).info.status == status


def test_a_resumed_training_continues_its_run() -> None:
    run = start()
    run.log_epoch(1, METRICS)  # then kill -9: the run is not ended
    with start(run.run_id, batch_size=64) as resumed:
        resumed.log_epoch(1, METRICS)  # trained again, because its checkpoint was not written
        resumed.log_epoch(2, METRICS | {"loss": 0.5})
    assert resumed.run_id == run.run_id
    assert losses(run.run_id) == [(1, 0.7), (2, 0.5)]
    found = open_client().get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"epochs": "2", "batch_size": "64"}
    assert found.data.tags["resumed"] == "true"


@pytest.mark.parametrize("deleted", [True, False])
def test_a_missing_run_is_replaced(deleted: bool) -> None:
    missing = "0" * 32
    if deleted:
        missing = start().run_id
        open_client().delete_run(missing)
    with start(missing) as run:
        run.log_epoch(2, METRICS)
    assert run.run_id != missing
    assert open_client().get_run(run.run_id).data.tags["resumed_from"] == missing


def test_a_store_that_does_not_answer_does_not_stop_the_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def fail(*_: object, **__: object) -> None:
        raise MlflowException("connection refused")

    with start() as run:
        monkeypatch.setattr(MlflowClient, "log_batch", fail)
        with caplog.at_level(logging.WARNING):
            run.log_epoch(1, METRICS)
        monkeypatch.undo()
    assert "epoch 1 is not in MLflow yet" in caplog.text


def test_a_trial_is_a_child_of_its_search() -> None:
    with start_search(EXPERIMENT, "tune-tiny", {"epochs": 2}, {"git_commit": "abc"}) as parent:
        with start_run(EXPERIMENT, "tiny-2ep", {"dropout": 0.2}, trial_tags(parent.run_id, 3)) as child:
            child.log_epoch(1, METRICS)
        log_trial_result(child.run_id, "pruned", 0.6)
    client = open_client()
    (found,) = client.search_runs(["1"], f"tags.`mlflow.parentRunId` = '{parent.run_id}'")
    assert found.info.run_id == child.run_id
    assert (found.data.tags["trial"], found.data.tags["role"]) == ("3", "trial")
    assert found.data.tags["trial_state"] == "pruned"
    assert found.info.run_name == "trial 3 tiny-2ep"
    assert found.data.metrics["best_val_auc"] == 0.6
    assert found.info.status == "FINISHED"
    tags = client.get_run(parent.run_id).data.tags
    assert (tags["role"], tags["git_commit"]) == ("search", "abc")


def test_a_trial_without_a_value_has_no_metrics() -> None:
    with start_run(EXPERIMENT, "tiny", {}, trial_tags("p" * 32, 1)) as child:
        pass
    log_trial_result(child.run_id, "failed", None)
    run = open_client().get_run(child.run_id)
    assert (run.data.tags["trial_state"], run.data.metrics) == ("failed", {})


def test_a_resumed_search_replaces_the_results_in_its_run(tmp_path: Path) -> None:
    figure = tmp_path / "importance.png"
    with start_search(EXPERIMENT, "tune", {"epochs": 2}, {}) as first:
        figure.write_bytes(b"one")
        log_search_results(first.run_id, {"best_val_auc": 0.6}, [figure])
    with start_search(EXPERIMENT, "tune", {"epochs": 2}, {}, first.run_id) as second:
        figure.write_bytes(b"two")
        log_search_results(second.run_id, {"best_val_auc": 0.7}, [figure])
    assert second.run_id == first.run_id
    run = open_client().get_run(first.run_id)
    assert run.data.metrics == {"best_val_auc": 0.7}
    with fetch_artifact(f"{run.info.artifact_uri}/importance.png") as stored:
        assert stored.read_bytes() == b"two"
