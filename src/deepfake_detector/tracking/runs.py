"""Parameters, tags and one row of metrics per epoch -> one MLflow run, which a resumed training goes on with."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from deepfake_detector.tracking.store import open_client, open_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

LOGGER = logging.getLogger(__name__)
MAX_BATCH = 100  # parameters or tags in one request; metrics: 1000
MAX_TAG = 5000
SAMPLE_S, SAMPLES_TO_MEAN = 5, 3


class TrainingRun:
    """One training as MLflow sees it; leaving the `with` block finishes it, an exception fails it.

    A kill leaves it `RUNNING`, which is true of a training that will be resumed. No global "active run" is touched.
    Inside the block, load of processor, memory, disk, network and GPU is logged every 15 s (`system/...`).
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.run_id = run_id
        self._client = client
        self._logged = logged_epochs(client, run_id)
        self._machine: Any = None

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log one epoch's metrics; one that was logged before a kill is left as it is.

        A store that does not answer costs a warning, not the training: `record` adds what is missing.
        """
        from mlflow.exceptions import MlflowException

        if epoch in self._logged:
            return
        try:
            self._client.log_batch(self.run_id, epoch_metrics(epoch, metrics))
            self._logged.add(epoch)
        except MlflowException as error:
            LOGGER.warning("epoch %d is not in MLflow yet, `register` will add it: %s", epoch, error)

    def finish(self) -> None:
        """The training ended as it should."""
        self._client.set_terminated(self.run_id, "FINISHED")

    def fail(self) -> None:
        """The training broke; its run can still be resumed."""
        self._client.set_terminated(self.run_id, "FAILED")

    def __enter__(self) -> Self:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)  # else it tells that there is no GPU
        monitor: Any = SystemMetricsMonitor  # without types
        self._machine = monitor(self.run_id, SAMPLE_S, SAMPLES_TO_MEAN, resume_logging=True)
        self._machine.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._machine is not None:
            self._machine.finish()
        if kind is None:
            self.finish()
        else:
            self._client.set_terminated(self.run_id, "KILLED" if kind is KeyboardInterrupt else "FAILED")


def start_run(
    experiment: str,
    name: str,
    params: Mapping[str, object],
    tags: Mapping[str, str],
    resume_run_id: str | None = None,
) -> TrainingRun:
    """Start a run, or go on with the one of a training that was killed.

    Args:
        experiment: MLflow experiment, created if there is none.
        name: shown in the run table; `record` adds a digest of the weights once there are any.
        params: settings of the training; those that the run has already stay as they are.
        tags: for example `read_lineage`.
        resume_run_id: the killed training's run; a run that is gone is replaced by a new one tagged `resumed_from`.
    """
    client = open_client()
    run = find_run(client, resume_run_id)
    if run is None:
        started = dict(tags) | ({"resumed_from": resume_run_id} if resume_run_id else {})
        run = client.create_run(open_experiment(client, experiment), run_name=name)
        log_facts(client, run, params, started)
    else:
        client.update_run(run.info.run_id, status="RUNNING")
        log_facts(client, run, params, {"resumed": "true"})
    return TrainingRun(client, run.info.run_id)


def find_run(client: MlflowClient, run_id: str | None) -> Run | None:
    """A run that the store knows and nobody deleted."""
    from mlflow.exceptions import MlflowException

    if not run_id:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def log_facts(client: MlflowClient, run: Run, params: Mapping[str, object], tags: Mapping[str, str]) -> None:
    """Set tags, and the parameters that the run lacks: MLflow refuses to change one."""
    from mlflow.entities import Param, RunTag

    missing = [Param(key, str(value)) for key, value in params.items() if key not in run.data.params]
    labels = [RunTag(key, value[:MAX_TAG]) for key, value in tags.items()]
    for i in range(0, max(len(missing), len(labels)), MAX_BATCH):
        client.log_batch(run.info.run_id, params=missing[i : i + MAX_BATCH], tags=labels[i : i + MAX_BATCH])


def log_history(client: MlflowClient, run_id: str, history: Iterable[Mapping[str, float]]) -> None:
    """Log the epochs that the run lacks; each row holds `epoch` and its metrics."""
    known = logged_epochs(client, run_id)
    for row in history:
        epoch = int(row["epoch"])
        if epoch not in known:
            client.log_batch(run_id, epoch_metrics(epoch, row))


def logged_epochs(client: MlflowClient, run_id: str) -> set[int]:
    """Epochs whose loss is in the store."""
    return {metric.step for metric in client.get_metric_history(run_id, _shown("loss"))}


def epoch_metrics(epoch: int, metrics: Mapping[str, float]) -> list[Metric]:
    """One row as MLflow wants it: each metric at step `epoch`."""
    from mlflow.entities import Metric

    now_ms = int(time.time() * 1000)
    return [Metric(_shown(key), float(value), now_ms, epoch) for key, value in metrics.items() if key != "epoch"]


def _shown(name: str) -> str:
    """Keras' name -> MLflow's: `loss` says nothing among a hundred metrics, `train_loss` stands beside `val_loss`."""
    return name if name.startswith("val_") or name == "learning_rate" else f"train_{name}"


PARENT = "mlflow.parentRunId"  # what MLflow's pages go by when they nest runs
ROLE = "role"  # search | trial: neither is a candidate for the registry


def start_search(
    experiment: str, name: str, params: Mapping[str, object], tags: Mapping[str, str], resume_run_id: str | None = None
) -> TrainingRun:
    """Start the parent run, or go on with the one of a search that was stopped.

    Args:
        experiment: MLflow experiment, created if there is none.
        name: shown in the run table.
        params: what all trials share, and the ranges.
        tags: for example `read_lineage`.
        resume_run_id: the run of the search so far; one that is gone is replaced.
    """
    return start_run(experiment, name, params, dict(tags) | {ROLE: "search"}, resume_run_id)


def trial_tags(parent_run_id: str, number: int) -> dict[str, str]:
    """Tags that make a run the child of a search."""
    return {PARENT: parent_run_id, ROLE: "trial", "trial": str(number)}


def note_outcome(run_id: str, state: str, value: float | None) -> None:
    """Say in a trial's run what became of it; the run itself may have ended before its last epoch.

    Args:
        run_id: of the trial.
        state: finished | given up | failed.
        value: the best it reached, which MLflow's pages can sort by.
    """
    client = open_client()
    client.set_tag(run_id, "trial_state", state)
    if value is not None:
        client.log_metric(run_id, "best_val_auc", value)


def log_findings(run_id: str, metrics: Mapping[str, float], files: Sequence[Path]) -> None:
    """Put what was found into the parent run; a later call of the same search replaces it."""
    client = open_client()
    for name, value in metrics.items():
        client.log_metric(run_id, name, value)
    for file in files:
        client.log_artifact(run_id, str(file))
