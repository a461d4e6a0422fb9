"""A search for better settings -> one MLflow run with a child run for each trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deepfake_detector.registry.runs import TrainingRun, start_run
from deepfake_detector.registry.store import open_client

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
