"""Rows -> one picture: how many times faster, on a logarithmic scale, with spread and goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.table import about, number
from benchmarks.timing import MIB, Comparison

FASTER, SLOWER, GOAL, INK = "#1b7f79", "#c58b2a", "#8a1c3b", "#222222"
ROW_INCHES = 0.34


def draw(content: Mapping[str, Any], rows: Sequence[Comparison], to: Path) -> None:
    """Save the figure as PNG.

    Args:
        content: see `about`.
        rows: from top to bottom.
        to: the file.
    """
    rows = [row for row in rows if row.unit != MIB]  # of memory, more is worse
    to.parent.mkdir(parents=True, exist_ok=True)
    picture = Figure(figsize=(11, 1.6 + ROW_INCHES * len(rows)), dpi=110, layout="constrained")
    axes = picture.add_subplot()
    for place, row in enumerate(rows):
        _bar(axes, len(rows) - 1 - place, row)
    axes.set_yticks(range(len(rows)), _labels(rows)[::-1], fontsize=8)
    axes.set_xscale("log")
    axes.axvline(1, color=INK, linewidth=1)
    ends = [end for row in rows for end in (*row.spread, row.ratio, row.goal or row.ratio)]
    axes.set_xlim(min(0.05, min(ends) / 1.4), max(ends) * 2.2)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.set_xlabel("times faster than the other way; 1× is as fast, and all there is where the other way is a limit")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.plot([], [], color=GOAL, linewidth=2, label="goal")
    axes.plot([], [], color=INK, linewidth=1, label="smallest to largest of the rounds")
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    title = f"Every figure against another way of doing the same work\n{about(content).replace('; ', chr(10), 1)}"
    picture.suptitle(title, x=0.01, ha="left", fontsize=10)
    picture.savefig(to)


def _labels(rows: Sequence[Comparison]) -> list[str]:
    """What is done, said once, and against what."""
    before = [None, *(row.name for row in rows)]
    return [
        f"against  {row.other}" if row.name == name else f"{row.name},  against  {row.other}"
        for row, name in zip(rows, before, strict=False)
    ]


def _bar(axes: Axes, place: int, row: Comparison) -> None:
    colour = FASTER if row.ratio >= 1 else SLOWER
    axes.barh(place, row.ratio - 1, left=1, height=0.6, color=colour, alpha=0.85)
    low, high = row.spread
    axes.plot([low, high], [place, place], color=INK, linewidth=1)
    if row.goal is not None:
        axes.plot([row.goal, row.goal], [place - 0.42, place + 0.42], color=GOAL, linewidth=2)
    axes.annotate(
        f"{number(row.ratio)}×", (max(high, row.ratio, 1), place), xytext=(5, 0), textcoords="offset points",
        va="center", fontsize=8, color=INK,
    )  # fmt: skip
