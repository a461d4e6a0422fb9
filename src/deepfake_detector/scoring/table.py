"""Rows of answers -> a table for people, and below it what holds for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deepfake_detector.scoring.decision import DRAWN_WARNING
from deepfake_detector.scoring.fake_kind import leading

COLOURS = {"fake": "red", "real": "green", "inconclusive": "yellow", "error": "magenta"}


def print_table(rows: list[dict[str, Any]], console: Console | None = None) -> None:
    """Print one row per file; a warning about the model is said once, not in every row.

    Args:
        rows: answers as JSON objects with `file`, or `file` and `error`.
        console: where to; the terminal by default.
    """
    console = console or Console()
    table = Table(show_lines=len(rows) > 1, expand=True)
    table.add_column("file", overflow="fold", ratio=3)
    for name in ("verdict", "p_fake", "evidence"):
        table.add_column(name, no_wrap=True)
    table.add_column("why", overflow="fold", ratio=5)
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)
    if any(DRAWN_WARNING in row.get("reasons", ()) for row in rows):
        console.print(f"[yellow]Mind:[/] {escape(DRAWN_WARNING)}.")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    name = escape(Path(row["file"]).name)
    if "error" in row:
        error = row["error"]
        return name, _coloured("error"), "", "", escape(f"{error['message']} ({error['hint']})")
    p_fake = "" if row["p_fake"] is None else f"{row['p_fake']:.3f}"
    reasons = [reason for reason in row["reasons"] if reason != DRAWN_WARNING]
    return name, _verdict(row), p_fake, row["evidence"] or "", escape("\n".join([*reasons, *_beside(row)]))


def _beside(row: dict[str, Any]) -> list[str]:
    """What stands beside the score: the prior's effect, and Content Credentials where the file carries some."""
    said = []
    if posterior := row.get("posterior"):
        said.append(f"where {_percent(posterior['prior'])} are fakes, this is one with {_percent(posterior['p_fake'])}")
    if (credentials := row.get("content_credentials")) and credentials["state"] != "absent":
        said.append(f"Content Credentials {credentials['state']}: {credentials['note']}")
    return said


def _verdict(row: dict[str, Any]) -> str:
    found = leading(row["kind_of_fake"]) if row["verdict"] == "fake" else None
    return _coloured(row["verdict"]) + (f"\n{escape(found[0])}" if found else "")


def _coloured(word: str) -> str:
    return f"[{COLOURS[word]}]{word}[/]"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
