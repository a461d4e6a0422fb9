"""Experiment -> its runs as rows, sorted by a metric; a SQLite store of a known schema is read without MLflow."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_detector.registry.model_registry import RegistrySnapshot
from deepfake_detector.tracking.runs import find_run
from deepfake_detector.tracking.store import connect_readonly, open_client, read_store

METRICS, PARAMS, TAGS = "latest_metrics", "params", "tags"  # tables of MLflow
MAX_RUNS = 50_000  # that one request to a server may return
# Names under which version 0.1 logged metrics: the group before the slash, and the name behind it.
RENAMED_GROUPS = {
    "answered": "at_thresholds",
    "answered_sent": "at_thresholds_corrupted",
    "sent": "corrupted",
    "served": "end_to_end",
    "explanation": "faithfulness",
    "goals": "targets",
}
RENAMED_METRICS = {
    ("answered", "accuracy"): "selective_accuracy",
    ("answered_sent", "accuracy"): "selective_accuracy",
    ("goals", "set"): "count",
    ("probes", "asked"): "count",
    ("probes", "alarms"): "failed",
}
RENAMED_ENDS = {
    "caught": "true_positive_rate",
    "false_alarms": "false_positive_rate",
    "strictly_caught": "true_positive_rate_at_strict",
    "strict_false_alarms": "false_positive_rate_at_strict",
    "cleared_fakes": "false_negative_rate_at_clear",
    "strict_accuracy": "overall_accuracy",
    "true_real": "true_negatives",
    "false_fake": "false_positives",
    "false_real": "false_negatives",
    "true_fake": "true_positives",
}
_RENAMED_END = re.compile(f"(?<=[/_])({'|'.join(RENAMED_ENDS)})$")


@dataclass(frozen=True)
class RunRow:
    """One run with its parameters and latest metrics."""

    run_id: str
    name: str
    status: str
    started_ms: int  # since 1970, UTC
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def is_child(self) -> bool:
        """Whether it is a trial of another run."""
        return "mlflow.parentRunId" in self.tags


def read_runs(experiment: str, run_ids: Collection[str] = ()) -> tuple[RunRow, ...]:
    """All runs of an experiment that are not deleted; without store or experiment there are none.

    Args:
        experiment: name.
        run_ids: of further runs, in any experiment: `register` finds a training by its weights, so a version's run may
            have been logged before the experiment was renamed. Ids that the store lacks are skipped.

    Raises:
        ToolFailed: the store does not answer.
    """
    return read_store(
        lambda file: _read_file(file, experiment, run_ids), lambda: _read_by_client(experiment, run_ids), ()
    )


def current_name(metric: str) -> str:
    """Today's name of a metric that version 0.1 may have logged, for example `sent/auc` -> `corrupted/auc`."""
    group, slash, name = metric.partition("/")
    name = RENAMED_METRICS.get((group, name), name)
    return _RENAMED_END.sub(lambda end: RENAMED_ENDS[end[1]], f"{RENAMED_GROUPS.get(group, group)}{slash}{name}")


def sort_runs(rows: Iterable[RunRow], metric: str, lowest: bool = False) -> tuple[list[RunRow], list[RunRow]]:
    """Rows that have the metric, the best first, and those that lack it, the newest first."""
    rows, metric = list(rows), current_name(metric)
    ranked = [row for row in rows if metric in row.metrics]
    rest = [row for row in rows if metric not in row.metrics]
    ranked.sort(key=lambda row: (row.metrics[metric] if lowest else -row.metrics[metric], -row.started_ms))
    return ranked, sorted(rest, key=lambda row: -row.started_ms)


def version_label(row: RunRow, snapshot: RegistrySnapshot) -> str:
    """Versions that a run became, with their aliases, for example `3 champion` or `2`; "" if it became none."""
    numbers = [version.number for version in snapshot.versions if version.run_id == row.run_id]
    names = {number: alias for alias, number in sorted(snapshot.aliases.items(), reverse=True)}
    return ", ".join(f"{number} {names[number]}" if number in names else number for number in numbers)


def _read_file(database: Path, experiment: str, run_ids: Collection[str]) -> tuple[RunRow, ...]:
    selected = (
        "SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) WHERE runs.lifecycle_stage = 'active'"
        " AND (experiments.name = ? OR run_uuid IN (SELECT value FROM json_each(?)))"
    )
    wanted = (experiment, json.dumps(list(run_ids)))
    with closing(connect_readonly(database)) as connection:
        connection.execute("BEGIN")  # one transaction, so that all answers are of one moment
        runs = connection.execute(
            f"SELECT run_uuid, name, status, start_time FROM runs WHERE run_uuid IN ({selected})", wanted
        ).fetchall()
        values: dict[str, dict[str, dict[str, Any]]] = {METRICS: {}, PARAMS: {}, TAGS: {}}
        for table, by_run in values.items():
            select = f"SELECT run_uuid, key, value FROM {table} WHERE run_uuid IN ({selected})"
            for run_id, key, value in connection.execute(select, wanted):
                by_run.setdefault(run_id, {})[key] = value
    return tuple(
        RunRow(
            run_id,
            name or "",
            status,
            int(started_ms or 0),
            values[PARAMS].get(run_id, {}),
            _with_current_names(values[METRICS].get(run_id, {})),
            values[TAGS].get(run_id, {}),
        )
        for run_id, name, status, started_ms in runs
    )


def _read_by_client(experiment: str, run_ids: Collection[str]) -> tuple[RunRow, ...]:
    client = open_client()
    found = client.get_experiment_by_name(experiment)
    runs = list(client.search_runs([found.experiment_id], max_results=MAX_RUNS)) if found else []
    elsewhere = sorted(set(run_ids) - {run.info.run_id for run in runs})
    runs += [run for run in (find_run(client, run_id) for run_id in elsewhere) if run is not None]
    return tuple(
        RunRow(
            run.info.run_id,
            run.info.run_name or "",
            run.info.status,
            int(run.info.start_time or 0),
            dict(run.data.params),
            _with_current_names(run.data.metrics),
            dict(run.data.tags),
        )
        for run in runs
    )


def _with_current_names(metrics: Mapping[str, float]) -> dict[str, float]:
    """A run that was evaluated by both versions has both names; the current one counts."""
    renamed = {current_name(name): value for name, value in metrics.items()}
    return renamed | {name: value for name, value in metrics.items() if current_name(name) == name}
