"""`make bench` -> every comparison, one table, reports/benchmarks.json, docs/images/benchmarks.png, README's table.

`python -m benchmarks score http` runs only these groups and writes nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figure import draw
from benchmarks.groups import GROUPS
from benchmarks.machine import load, machine
from benchmarks.material import find_data
from benchmarks.readme import write_into
from benchmarks.table import show
from benchmarks.timing import Row
from deepfake_detector.errors import BadInput, ToolFailed
from deepfake_detector.io import write_json
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage

GROUP_S = 1800  # a group that takes longer hangs: on a quiet machine none takes three minutes


def main() -> None:
    """Run the groups one after another, each in a process of its own."""
    workspace = Workspace().enter()
    asked = tuple(sys.argv[1:]) or GROUPS
    if unknown := set(asked) - set(GROUPS):
        raise BadInput(
            f"no group of benchmarks is called {', '.join(sorted(unknown))}", f"there are {', '.join(GROUPS)}"
        )
    began_s, busy = time.monotonic(), load()
    rows, failed = list[Row](), list[str]()
    for group in asked:
        found = _run(group)
        rows += found or []
        if found is None:
            failed.append(group)
    content = {
        "machine": machine(),
        "load_before": busy,
        "date": time.strftime("%Y-%m-%d"),
        "pictures": "photographs" if find_data(workspace.root) else "drawn sample",
        "seconds": round(time.monotonic() - began_s),
        "rows": [row.as_json() for row in rows],
    }
    show(content, rows)
    if failed:
        raise ToolFailed(f"{', '.join(failed)}: no figures, so nothing was written", "the lines above say why")
    if asked == GROUPS:
        write_json(workspace.report("benchmarks"), content)
        draw(content, rows, workspace.root / "docs" / "images" / "benchmarks.png")
        write_into(workspace.root / "README.md", content, rows)


def _run(group: str) -> list[Row] | None:
    """Rows of one group; None when it failed or hung."""
    print(f"\n{group}", flush=True)
    with TemporaryDirectory() as folder:
        to = Path(folder) / "rows.json"
        command = (sys.executable, "-m", "benchmarks.groups", group, str(to))
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(GROUP_S)
        except subprocess.TimeoutExpired:
            print(f"{group} took more than {GROUP_S} s and was stopped", file=sys.stderr)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if not to.exists():
            return None
        return [Row.from_json(each) for each in json.loads(to.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    sys.exit(run_stage(main))
