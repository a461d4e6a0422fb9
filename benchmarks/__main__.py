"""models/bundle and data/raw -> reports/benchmarks.json and a table: `make bench`, after `make repro`."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks.rows import rows
from benchmarks.timing import Row, machine
from deepfake_detector.workspace import Workspace
from pipelines.stage import run_stage, write_report


def main() -> None:
    """Run every comparison, print the table, write the report."""
    workspace = Workspace().enter()
    found: list[Row] = []
    for row in rows(workspace):
        found.append(row)
        print(f"{row.name}: {row.ratio:.2f} times {row.other}", flush=True)
    content = {
        "machine": f"{machine()}, {os.cpu_count()} cores",
        "date": time.strftime("%Y-%m-%d"),
        "rows": [asdict(row) for row in found],
    }
    write_report(workspace.report("benchmarks"), content)
    table = Table(title=str(content["machine"]))
    for column in ("what", "ours", "against", "ratio", "spread"):
        table.add_column(column)
    for row in found:
        ours, other = (f"{label}: {rate:,.0f} {row.unit}/s" for label, rate in
                       ((row.ours, row.ours_per_s), (row.other, row.other_per_s)))  # fmt: skip
        table.add_row(row.name, ours, other, f"{row.ratio:.2f}", f"{row.spread[0]:.2f} to {row.spread[1]:.2f}")
    Console(width=160).print(table)


if __name__ == "__main__":
    sys.exit(run_stage(main))
