"""A live run: what it logs, how it ends, and how a resumed training goes on with it."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from deepfake_detector.tracking.runs import start_run
from deepfake_detector.tracking.store import open_client

ROW = {"epoch": 1, "loss": 0.7, "val_auc": 0.6}


def start(resume: str | None = None, **params: object) -> Any:
    return start_run("road", "tiny-2ep", {"epochs": 2} | params, {"network": "tiny"}, resume)


def losses(run_id: str) -> list[tuple[int, float]]:
    return [(metric.step, metric.value) for metric in open_client().get_metric_history(run_id, "train_loss")]


def test_a_run_from_start_to_end(road: Any) -> None:
    import mlflow

    with start() as run:
        run.log_epoch(1, ROW)
        run.log_epoch(2, {"epoch": 2, "loss": 0.5, "val_auc": 0.8})
        assert mlflow.active_run() is None
    found = open_client().get_run(run.run_id)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "tiny-2ep")
    assert (found.data.params, found.data.tags["network"]) == ({"epochs": "2"}, "tiny")
    assert found.data.metrics == {"train_loss": 0.5, "val_auc": 0.8}
    assert losses(run.run_id) == [(1, 0.7), (2, 0.5)]


def test_the_load_of_the_machine_is_logged_beside(road: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_an_exception_ends_the_run_as_what_it_was(road: Any, error: type[BaseException], status: str) -> None:
    run = start()
    with pytest.raises(error), run:
        raise error
    assert open_client().get_run(run.run_id).info.status == status


def test_a_killed_training_goes_on_in_its_run(road: Any) -> None:
    run = start()
    run.log_epoch(1, ROW)  # and then kill -9: nothing more is said
    with start(run.run_id, batch_size=64) as resumed:
        resumed.log_epoch(1, ROW)  # done again, because the kill came before its checkpoint
        resumed.log_epoch(2, ROW | {"loss": 0.5})
    assert resumed.run_id == run.run_id
    assert losses(run.run_id) == [(1, 0.7), (2, 0.5)]
    found = open_client().get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"epochs": "2", "batch_size": "64"}
    assert found.data.tags["resumed"] == "true"


@pytest.mark.parametrize("deleted", [True, False])
def test_a_run_that_is_gone_is_replaced(road: Any, deleted: bool) -> None:
    gone = "0" * 32
    if deleted:
        gone = start().run_id
        open_client().delete_run(gone)
    with start(gone) as run:
        run.log_epoch(2, ROW)
    assert run.run_id != gone
    assert open_client().get_run(run.run_id).data.tags["resumed_from"] == gone


def test_a_store_that_stops_answering_does_not_stop_the_training(
    road: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("gone")

    with start() as run:
        monkeypatch.setattr(MlflowClient, "log_batch", refuse)
        with caplog.at_level(logging.WARNING):
            run.log_epoch(1, ROW)
        monkeypatch.undo()
    assert "epoch 1 is not in MLflow yet" in caplog.text
