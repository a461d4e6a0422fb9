"""Experiment -> its runs as rows, the best first; read without MLflow where the store is a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_detector.registry.model_registry import Shelf
from deepfake_detector.tracking.store import local_database, open_client, tracking_uri

METRIC, PARAM, TAG = "latest_metrics", "params", "tags"
MAX_RUNS = 50_000  # that one request to a server may bring


@dataclass(frozen=True)
class Row:
    """One run: what it was called, how it was made, what came of it."""

    run_id: str
    name: str
    status: str
    started_ms: int  # since 1970, UTC
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def is_child(self) -> bool:
        """Whether it is one of many trials of another run."""
        return "mlflow.parentRunId" in self.tags


def read_rows(experiment: str) -> tuple[Row, ...]:
    """All runs of an experiment that nobody deleted; none where there is no such experiment or store.

    Raises:
        ToolFailed: the store does not answer.
    """
    database = local_database(tracking_uri())
    if database is None:
        return _ask(experiment)
    if not database.exists():
        return ()
    try:
        return _query(database, experiment)
    except sqlite3.Error:  # another MLflow may lay its tables out differently; its own client then knows
        return _ask(experiment)


def best_first(rows: Iterable[Row], by: str, lowest: bool = False) -> tuple[list[Row], list[Row]]:
    """Rows that have the metric, the best first, and those that lack it, the newest first."""
    rated = [row for row in rows if by in row.metrics]
    rest = [row for row in rows if by not in row.metrics]
    rated.sort(key=lambda row: (row.metrics[by] if lowest else -row.metrics[by], -row.started_ms))
    return rated, sorted(rest, key=lambda row: -row.started_ms)


def standing_of(row: Row, shelf: Shelf) -> str:
    """What became of a run: `3 champion`, `2`, or nothing."""
    numbers = [version.number for version in shelf.versions if version.run_id == row.run_id]
    names = {number: alias for alias, number in sorted(shelf.aliases.items(), reverse=True)}
    return ", ".join(f"{number} {names[number]}" if number in names else number for number in numbers)


def _query(database: Path, experiment: str) -> tuple[Row, ...]:
    chosen = (
        "SELECT run_uuid FROM runs JOIN experiments USING (experiment_id)"
        " WHERE experiments.name = ? AND runs.lifecycle_stage = 'active'"
    )
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        connection.execute("BEGIN")  # all answers of one moment
        runs = connection.execute(
            f"SELECT run_uuid, name, status, start_time FROM runs WHERE run_uuid IN ({chosen})", (experiment,)
        ).fetchall()
        facts: dict[str, dict[str, dict[str, Any]]] = {METRIC: {}, PARAM: {}, TAG: {}}
        for table, of_run in facts.items():
            select = f"SELECT run_uuid, key, value FROM {table} WHERE run_uuid IN ({chosen})"
            for run_id, key, value in connection.execute(select, (experiment,)):
                of_run.setdefault(run_id, {})[key] = value
    return tuple(
        Row(run_id, name or "", status, int(started_ms or 0), *(facts[t].get(run_id, {}) for t in (PARAM, METRIC, TAG)))
        for run_id, name, status, started_ms in runs
    )


def _ask(experiment: str) -> tuple[Row, ...]:
    client = open_client()
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return ()
    runs = client.search_runs([found.experiment_id], max_results=MAX_RUNS)
    return tuple(
        Row(
            run.info.run_id,
            run.info.run_name or "",
            run.info.status,
            int(run.info.start_time or 0),
            dict(run.data.params),
            dict(run.data.metrics),
            dict(run.data.tags),
        )
        for run in runs
    )
