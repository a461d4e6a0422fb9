"""Parameters, tags and metrics per epoch -> MLflow runs; a resumed training or search continues its run."""

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
SAMPLE_S, SAMPLES_TO_MEAN = 5, 3  # of system metrics: one mean every 15 s
PARENT_RUN_TAG = "mlflow.parentRunId"  # MLflow's pages nest runs by it
WEIGHTS_TAG = "weights_sha256"
RESTORED_TAG = "restored"  # "true": made by `register` for a training whose run the store lacks
ROLE_TAG = "role"  # search | trial: neither is a candidate for the registry


class TrainingRun:
    """The MLflow run of one training: leaving the `with` block ends it as FINISHED, an exception as FAILED or KILLED.

    After `kill -9` it stays RUNNING, until the training is resumed. MLflow's global active run is not used. Inside the
    block, system metrics (CPU, memory, disk, network, GPU) are logged every 15 s as `system/...`.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.run_id = run_id
        self._client = client
        self._logged = logged_epochs(client, run_id)
        self._system_metrics: Any = None

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of one epoch, unless the run has them already.

        If the store does not answer, this logs a warning and the training continues: `register` adds the epoch later.
        """
        from mlflow.exceptions import MlflowException

        if epoch in self._logged:
            return
        try:
            self._client.log_batch(self.run_id, epoch_metrics(epoch, metrics))
            self._logged.add(epoch)
        except MlflowException as error:
            LOGGER.warning("epoch %d is not in MLflow yet, `register` will add it: %s", epoch, error)

    def __enter__(self) -> Self:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)  # no message about a missing GPU
        monitor: Any = SystemMetricsMonitor  # untyped
        self._system_metrics = monitor(self.run_id, SAMPLE_S, SAMPLES_TO_MEAN, resume_logging=True)
        self._system_metrics.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._system_metrics is not None:
            self._system_metrics.finish()
        status = "FINISHED" if kind is None else "KILLED" if kind is KeyboardInterrupt else "FAILED"
        self._client.set_terminated(self.run_id, status)


def start_run(
    experiment: str,
    name: str,
    params: Mapping[str, object],
    tags: Mapping[str, str],
    resume_run_id: str | None = None,
) -> TrainingRun:
    """Start a run, or continue that of an interrupted training.

    Args:
        experiment: MLflow experiment, created if missing.
        name: shown in the run table behind the number of a trial or the start of the run's id, so that no two runs look
            the same; `register` replaces it by a name with a digest of the weights.
        params: settings of the training; a parameter that the run has already keeps its value.
        tags: for example those of `read_lineage`.
        resume_run_id: run of the interrupted training; if it was deleted, a new one is tagged `resumed_from`.
    """
    client = open_client()
    run = find_run(client, resume_run_id)
    if run is None:
        new_tags = dict(tags) | ({"resumed_from": resume_run_id} if resume_run_id else {})
        run = client.create_run(open_experiment(client, experiment), run_name=name)
        own = f"trial {new_tags['trial']}" if "trial" in new_tags else run.info.run_id[:8]
        client.update_run(run.info.run_id, name=f"{own} {name}")
        log_params_and_tags(client, run, params, new_tags)
    else:
        client.update_run(run.info.run_id, status="RUNNING")
        log_params_and_tags(client, run, params, {"resumed": "true"})
    return TrainingRun(client, run.info.run_id)


def log_training_result(run_id: str, weights_sha256: str, seconds: float, resumed_at_epoch: int) -> None:
    """Tag a run with the weights it gave, by which `register` finds it, and log how long they took.

    If the store does not answer, this logs a warning: `register` will record the model in a run of its own.

    Args:
        run_id: of the training.
        weights_sha256: digest of the trained arrays.
        seconds: since the training was started or resumed.
        resumed_at_epoch: 0 if it was not interrupted.
    """
    from mlflow.exceptions import MlflowException

    client = open_client()
    try:
        client.log_metric(run_id, "train_seconds", seconds)
        if resumed_at_epoch:
            client.set_tag(run_id, "resumed_at_epoch", str(resumed_at_epoch))
        client.set_tag(run_id, WEIGHTS_TAG, weights_sha256)
    except MlflowException as error:
        LOGGER.warning("MLflow run %s does not name its weights, `register` will make another run: %s", run_id, error)


def find_run_of_weights(
    client: MlflowClient, weights_sha256: str, params: Mapping[str, str] | None = None
) -> Run | None:
    """The run that trained these weights, else one that `register` restored for them; None if the store has neither.

    Of several trainings that gave the same weights (one epoch, and two of which the first is the best) the one with
    these parameters, and of those the newest. Runs of every experiment are searched: the setting may have changed since
    the training.
    """
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    query = f"tags.{WEIGHTS_TAG} = '{weights_sha256}'"
    found = client.search_runs(experiments, query, order_by=["attributes.start_time DESC"])

    def rank(run: Run) -> tuple[bool, int]:
        differences = sum(run.data.params.get(name, value) != value for name, value in (params or {}).items())
        return RESTORED_TAG in run.data.tags, differences

    return min(found, key=rank, default=None)


def find_run(client: MlflowClient, run_id: str | None) -> Run | None:
    """The run of this id; None if the store has no such run, or it was deleted."""
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


def log_params_and_tags(client: MlflowClient, run: Run, params: Mapping[str, object], tags: Mapping[str, str]) -> None:
    """Set the tags, and the parameters that the run lacks: MLflow does not allow changing one."""
    from mlflow.entities import Param, RunTag

    missing = [Param(key, str(value)) for key, value in params.items() if key not in run.data.params]
    run_tags = [RunTag(key, value[:MAX_TAG]) for key, value in tags.items()]
    for i in range(0, max(len(missing), len(run_tags)), MAX_BATCH):
        client.log_batch(run.info.run_id, params=missing[i : i + MAX_BATCH], tags=run_tags[i : i + MAX_BATCH])


def log_history(client: MlflowClient, run_id: str, history: Iterable[Mapping[str, float]]) -> None:
    """Log the epochs that the run lacks; each row has `epoch` and the metrics of it."""
    known = logged_epochs(client, run_id)
    for row in history:
        epoch = int(row["epoch"])
        if epoch not in known:
            client.log_batch(run_id, epoch_metrics(epoch, row))


def logged_epochs(client: MlflowClient, run_id: str) -> set[int]:
    """Epochs whose loss the run has."""
    return {metric.step for metric in client.get_metric_history(run_id, _mlflow_name("loss"))}


def epoch_metrics(epoch: int, metrics: Mapping[str, float]) -> list[Metric]:
    """The metrics of one epoch as MLflow entities, at step `epoch`."""
    from mlflow.entities import Metric

    now_ms = int(time.time() * 1000)
    return [Metric(_mlflow_name(key), float(value), now_ms, epoch) for key, value in metrics.items() if key != "epoch"]


def _mlflow_name(name: str) -> str:
    """Keras's name -> MLflow's: `loss` -> `train_loss`, beside `val_loss`."""
    return name if name.startswith("val_") or name == "learning_rate" else f"train_{name}"


def start_search(
    experiment: str, name: str, params: Mapping[str, object], tags: Mapping[str, str], resume_run_id: str | None = None
) -> TrainingRun:
    """Start the parent run of a search, or continue it.

    Args:
        experiment: MLflow experiment, created if missing.
        name: shown in the run table.
        params: settings that all trials share, and the ranges.
        tags: for example those of `read_lineage`.
        resume_run_id: run of the search so far; if it was deleted, a new one is tagged `resumed_from`.
    """
    return start_run(experiment, name, params, dict(tags) | {ROLE_TAG: "search"}, resume_run_id)


def trial_tags(parent_run_id: str, number: int) -> dict[str, str]:
    """Tags that make a run a child of the search's run."""
    return {PARENT_RUN_TAG: parent_run_id, ROLE_TAG: "trial", "trial": str(number)}


def log_trial_result(run_id: str, state: str, value: float | None) -> None:
    """Tag a trial's run with its state and log its best value; the run may have ended before its last epoch.

    Args:
        run_id: of the trial.
        state: complete | pruned | failed.
        value: the highest value it reported, by which MLflow's pages can sort.
    """
    client = open_client()
    client.set_tag(run_id, "trial_state", state)
    if value is not None:
        client.log_metric(run_id, "best_val_auc", value)


def log_search_results(run_id: str, metrics: Mapping[str, float], files: Sequence[Path]) -> None:
    """Log metrics and files to the parent run; those of an earlier call are replaced."""
    client = open_client()
    for name, value in metrics.items():
        client.log_metric(run_id, name, value)
    for file in files:
        client.log_artifact(run_id, str(file))
