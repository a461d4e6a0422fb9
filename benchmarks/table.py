"""Rows -> words: a table in the terminal, and the same in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.timing import MIB, Comparison

COLUMNS = ("what", "ours", "against", "ratio", "range of the rounds", "goal for the ratio")


def show(content: Mapping[str, Any], rows: Sequence[Comparison]) -> None:
    """Print the table."""
    table = Table(title=about(content), title_justify="left", show_lines=False)
    for column in COLUMNS:
        table.add_column(column, justify="right" if column.endswith("ratio") else "left")
    for row in rows:
        table.add_row(*cells(row), style="" if row.reached is not False else "yellow")
    Console(width=170).print(table)


def markdown(rows: Sequence[Comparison]) -> str:
    """The table for a README."""
    lines = [list(COLUMNS), ["---", "---", "---", "---:", "---", "---"], *map(cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def cells(row: Comparison) -> list[str]:
    """One row in words."""
    sign = "≤" if row.unit == MIB else "≥"
    goal = "" if row.goal is None else f"{sign} {number(row.goal)} {'✓' if row.reached else '✗'}"
    low, high = (number(each) for each in row.spread)
    ours, other = (f"{name}: {figure(value, row.unit)}" for name, value in
                   ((row.ours, row.ours_figure), (row.other, row.other_figure)))  # fmt: skip
    return [row.name, ours, other, number(row.ratio), f"{low} to {high}", goal]


def figure(value: float, unit: str) -> str:
    """A rate as people say it: `120 pictures/s`, or `2.1 s a start` where it is less than one."""
    if unit == MIB:
        return f"{value:,.0f} MiB"
    if unit == "GFLOP":
        return f"{value:,.0f} GFLOP/s"
    if value >= 1:
        return f"{number(value)} {unit}{'es' if unit.endswith('sh') else 's'}/s"
    return f"{number(1 / value)} s a {unit}"


def number(value: float) -> str:
    """Two digits that matter, whole numbers above ten."""
    if value >= 9.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"


def about(content: Mapping[str, Any]) -> str:
    """Where, when and on what the figures were measured."""
    busy = f"; load average {content['load_before']:g} when it began" if content["load_before"] >= 0.5 else ""
    return f"{content['date']}, {content['machine']}; {content['pictures']}{busy}"
