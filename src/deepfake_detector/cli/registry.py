"""A version and a reason -> another champion, if the gate agrees or is overruled."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from deepfake_detector.registry.model_registry import Shelf
    from deepfake_detector.registry.run_table import Row

Why = Annotated[str, typer.Option("--why", help="Reason, for the history; who reads it knows nothing else.")]
Force = Annotated[bool, typer.Option("--force", help="Overrule the gate.")]


def promote(
    version: Annotated[str, typer.Argument(help="Number, or an alias such as challenger.")],
    why: Why,
    force: Force = False,
) -> None:
    """Make a version the champion: the model that is packaged and served."""
    from deepfake_detector.config import read_settings
    from deepfake_detector.evaluation.rescoring import TestPictures
    from deepfake_detector.paths import Workspace
    from deepfake_detector.registry.promotion import promote as promote_version
    from deepfake_detector.registry.report import hand_over

    workspace = Workspace().enter()
    settings = read_settings(workspace.params)
    pictures = TestPictures(workspace, settings)
    shelf = promote_version(version, why, force, settings.register, pictures)
    print(hand_over(shelf, workspace))


def rollback(why: Why, force: Force = False) -> None:
    """Bring the champion before the present one back; twice goes back two."""
    from deepfake_detector.config import read_settings
    from deepfake_detector.paths import Workspace
    from deepfake_detector.registry.promotion import roll_back
    from deepfake_detector.registry.report import hand_over

    workspace = Workspace().enter()
    shelf = roll_back(why, force, read_settings(workspace.params).register)
    print(hand_over(shelf, workspace))


# Column -> the metric in it; those with an interval show it.
COLUMNS = {
    "accuracy": "test_accuracy",
    "AUC": "test_auc",
    "ECE": "test_ece",
    "degraded": "grid/all/accuracy",
}
DETAILS = ("weights", "seconds")
WIDE, PIPE_WIDTH = 140, 180  # characters


def runs(
    by: Annotated[str, typer.Option(help="Metric to sort by, as MLflow calls it.")] = "test_auc",
    lowest: Annotated[bool, typer.Option("--lowest", help="The lowest is the best, as for test_ece.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 15,
    moves: Annotated[bool, typer.Option("--moves", help="Every change of champion, with reason.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: every run, and all moves.")] = False,
) -> None:
    """Show the best runs of this checkout's experiment, or of the server that MLFLOW_TRACKING_URI names."""
    from deepfake_detector.config import read_settings
    from deepfake_detector.paths import Workspace
    from deepfake_detector.registry.model_registry import read_shelf
    from deepfake_detector.registry.run_table import best_first, read_rows

    workspace = Workspace().enter()
    settings = read_settings(workspace.params).register
    shelf = read_shelf(settings.model_name)
    found = read_rows(settings.experiment)
    rated, rest = best_first((row for row in found if not row.is_child), by, lowest)
    if as_json:
        rows = [_json(row, shelf) for row in (*rated, *rest)]
        told = {"runs": rows, "aliases": dict(shelf.aliases), "moves": [vars(move) for move in shelf.moves]}
        print(json.dumps(told, indent=2))
        return
    _print(rated[:limit], shelf)
    print(_footer(min(limit, len(rated)), len(rated), len(rest), len(found), by))
    if moves:
        print("\n".join(["", "moves:", *(f"  {move}" for move in shelf.moves)]) if shelf.moves else "\nno moves yet")


def _footer(shown: int, rated: int, rest: int, found: int, by: str) -> str:
    told = [f"{shown} of {rated} runs with {by}"]
    told += [f"{rest} without (unfinished, or not judged)"] if rest else []
    told += [f"{found - rated - rest} trials of other runs"] if found > rated + rest else []
    return "; ".join(told)


def _print(rows: list[Row], shelf: Shelf) -> None:
    """In a narrow terminal without intervals and what can be looked up by the id; a pipe takes all."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console = console if console.is_terminal else Console(width=PIPE_WIDTH)
    table, wide = Table(show_edge=False), console.width >= WIDE
    table.add_column("run", overflow="fold", min_width=24)
    table.add_column("version", no_wrap=True)
    for name in (*COLUMNS, *(DETAILS if wide else ()), "when", "id"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, shelf, wide))
    console.print(table)


def _cells(row: Row, shelf: Shelf, wide: bool) -> list[str]:
    from rich.markup import escape

    from deepfake_detector.registry.run_table import standing_of

    standing = escape(standing_of(row, shelf))
    named = f"[bold green]{standing}[/]" if "champion" in standing else standing
    figures = [_figure(row, metric, wide) for metric in COLUMNS.values()]
    return [escape(row.name), named, *figures, *(_details(row) if wide else ()), _age(row.started_ms), row.run_id[:8]]


def _details(row: Row) -> tuple[str, str]:
    weights, seconds = row.params.get("parameters", ""), row.metrics.get("train_seconds")
    return f"{int(weights):,}" if weights.isdigit() else "-", "-" if seconds is None else f"{seconds:.0f}"


def _figure(row: Row, metric: str, wide: bool) -> str:
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


def _json(row: Row, shelf: Shelf) -> dict[str, Any]:
    from deepfake_detector.registry.run_table import standing_of

    facts = {"params": dict(row.params), "metrics": dict(row.metrics), "tags": dict(row.tags)}
    about = {"run_id": row.run_id, "name": row.name, "status": row.status, "started_ms": row.started_ms}
    return about | {"version": standing_of(row, shelf)} | facts
