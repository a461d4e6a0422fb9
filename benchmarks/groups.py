"""Name of a group -> its rows; `python -m benchmarks.groups NAME FILE` writes them to FILE as JSON.

Each group runs in a process of its own: what one has loaded, started or spoilt does not weigh on the next.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.material import Material, find_data
from benchmarks.timing import Comparison
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage

SCALE = "DEEPFAKE_BENCH_SCALE"
# In the order of the table; each is the function `NAME_rows` of the module `benchmarks.NAME_rows`.
GROUPS = ("score", "verdict", "http", "start", "training", "data", "scan", "cluster", "pipeline")


def rows_of(group: str) -> Callable[[Material], Iterator[Comparison]]:
    """The function that measures a group."""
    name = f"{group}_rows"
    found: Callable[[Material], Iterator[Comparison]] = getattr(import_module(f"benchmarks.{name}"), name)
    return found


def main() -> None:
    """Measure one group; each row is said as soon as it is known."""
    group, to = sys.argv[1], Path(sys.argv[2])
    workspace, scale = Workspace().enter(), float(os.environ.get(SCALE, "1"))
    with TemporaryDirectory(prefix="deepfake-bench-") as scratch:
        found = []
        for row in rows_of(group)(Material(workspace, Path(scratch), find_data(workspace.root), scale)):
            low, high = row.spread
            print(f"{row.name}: {row.ratio:.2f} [{low:.2f}, {high:.2f}] of {row.other}", flush=True)
            found.append(row.as_json())
    to.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run_stage(main))
