"""A version and a reason -> another champion, if the gate agrees or is overruled; the table of runs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from deepfake_detector.registry.model_registry import RegistrySnapshot
    from deepfake_detector.registry.run_table import RunRow

COLUMNS = {  # -> metric; in a wide terminal with its interval
    "accuracy": "test_accuracy",
    "AUC": "test_auc",
    "ECE": "test_ece",
    "robust": "grid/all/accuracy",
}
WIDE_COLUMNS = ("parameters", "train s")
WIDE, PIPE_WIDTH = 140, 180  # characters

Why = Annotated[str, typer.Option("--why", help="Reason, for the history.")]
Force = Annotated[bool, typer.Option("--force", help="Overrule the gate.")]


def promote(
    version: Annotated[str, typer.Argument(help="Number, or an alias such as challenger.")],
    why: Why,
    force: Force = False,
) -> None:
    """Make a version the champion: the model that is packaged and served."""
    from deepfake_detector.config import read_settings
    from deepfake_detector.evaluation.rescoring import EngineRescorer
    from deepfake_detector.paths import Workspace
    from deepfake_detector.registry.promotion import promote as promote_version
    from deepfake_detector.registry.report import publish_champion

    workspace = Workspace().enter()
    settings = read_settings(workspace.params)
    rescorer = EngineRescorer(workspace, settings)
    snapshot = promote_version(version, why, force, settings.register, rescorer)
    print(publish_champion(snapshot, workspace))


def rollback(why: Why, force: Force = False) -> None:
    """Make the champion before the present one champion again; a second rollback goes back one more."""
    from deepfake_detector.config import read_settings
    from deepfake_detector.paths import Workspace
    from deepfake_detector.registry.promotion import roll_back
    from deepfake_detector.registry.report import publish_champion

    workspace = Workspace().enter()
    snapshot = roll_back(why, force, read_settings(workspace.params).register)
    print(publish_champion(snapshot, workspace))


def runs(
    by: Annotated[str, typer.Option(help="Metric to sort by, as MLflow calls it.")] = "test_auc",
    lowest: Annotated[bool, typer.Option("--lowest", help="Lowest first, as for test_ece.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 15,
    history: Annotated[bool, typer.Option("--history", help="Also list every change of the aliases.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: all runs, aliases and their history.")] = False,
) -> None:
    """Show the best runs of this checkout's experiment and of all versions; MLFLOW_TRACKING_URI may name a server."""
    from deepfake_detector.config import read_settings
    from deepfake_detector.paths import Workspace
    from deepfake_detector.registry.model_registry import read_registry
    from deepfake_detector.registry.run_table import read_runs, sort_runs

    workspace = Workspace().enter()
    settings = read_settings(workspace.params).register
    snapshot = read_registry(settings.model_name)
    rows = read_runs(settings.experiment, [version.run_id for version in snapshot.versions if version.run_id])
    ranked, rest = sort_runs((row for row in rows if not row.is_child), by, lowest)
    if as_json:
        print(json.dumps(_as_json([*ranked, *rest], snapshot), indent=2))
        return
    _print_table(ranked[:limit], snapshot)
    print(_footer(min(limit, len(ranked)), len(ranked), len(rest), len(rows), by))
    if history:
        changes = [f"  {change}" for change in snapshot.history]
        print("\n".join(["", "changes of the aliases:", *changes]) if changes else "\nno changes of the aliases yet")


def _footer(shown: int, ranked: int, rest: int, rows: int, metric: str) -> str:
    parts = [f"{shown} of {ranked} runs with {metric}"]
    parts += [f"{rest} without it (unfinished, or not evaluated)"] if rest else []
    parts += [f"{rows - ranked - rest} trials of other runs"] if rows > ranked + rest else []
    return "; ".join(parts)


def _print_table(rows: list[RunRow], snapshot: RegistrySnapshot) -> None:
    """Print the table; a narrow terminal gets no intervals and no WIDE_COLUMNS."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console = console if console.is_terminal else Console(width=PIPE_WIDTH)
    table, wide = Table(show_edge=False), console.width >= WIDE
    table.add_column("run", overflow="fold", min_width=24)
    table.add_column("version", no_wrap=True)
    for name in (*COLUMNS, *(WIDE_COLUMNS if wide else ()), "started", "run id"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, snapshot, wide))
    console.print(table)


def _cells(row: RunRow, snapshot: RegistrySnapshot, wide: bool) -> list[str]:
    from rich.markup import escape

    from deepfake_detector.registry.run_table import version_label

    label = escape(version_label(row, snapshot))
    label = f"[bold green]{label}[/]" if "champion" in label else label
    metrics = [_metric_cell(row, metric, wide) for metric in COLUMNS.values()]
    return [
        escape(row.name),
        label,
        *metrics,
        *(_wide_cells(row) if wide else ()),
        _age(row.started_ms),
        row.run_id[:8],
    ]


def _wide_cells(row: RunRow) -> tuple[str, str]:
    parameters, seconds = row.params.get("parameters", ""), row.metrics.get("train_seconds")
    return f"{int(parameters):,}" if parameters.isdigit() else "-", "-" if seconds is None else f"{seconds:.0f}"


def _metric_cell(row: RunRow, metric: str, wide: bool) -> str:
    value = row.metrics.get(metric)
    if value is None:
        return "-"
    low, high = (row.metrics.get(f"{metric}_{end}") for end in ("low", "high"))
    interval = f" {low:.3f}-{high:.3f}" if wide and low is not None and high is not None else ""
    return f"{value:.3f}[dim]{interval}[/]" if interval else f"{value:.3f}"


def _age(started_ms: int) -> str:
    minutes = max(0, int(time.time() - started_ms / 1000)) // 60
    for unit, length in (("d", 24 * 60), ("h", 60)):
        if minutes >= length:
            return f"{minutes // length} {unit} ago"
    return f"{minutes} min ago"


def _as_json(rows: list[RunRow], snapshot: RegistrySnapshot) -> dict[str, Any]:
    from deepfake_detector.registry.run_table import version_label

    runs = [
        {
            "run_id": row.run_id,
            "name": row.name,
            "status": row.status,
            "started_ms": row.started_ms,
            "version": version_label(row, snapshot),
            "params": dict(row.params),
            "metrics": dict(row.metrics),
            "tags": dict(row.tags),
        }
        for row in rows
    ]
    changes = [vars(change) for change in snapshot.history]
    return {"runs": runs, "aliases": dict(snapshot.aliases), "alias_changes": changes}
