"""`make bench` -> all comparisons: reports/benchmarks.json, the tables in docs/performance.md and README, the figure.

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

from benchmarks.groups import GROUPS
from benchmarks.machine import load, machine
from benchmarks.material import find_data
from benchmarks.publish import publish
from benchmarks.table import show
from benchmarks.timing import Comparison
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
        raise BadInput(f"there is no benchmark group {', '.join(sorted(unknown))}", f"there are {', '.join(GROUPS)}")
    began_s, busy = time.monotonic(), load()
    rows, failed = list[Comparison](), list[str]()
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
        raise ToolFailed(f"{', '.join(failed)}: no figures, so nothing was written", "the lines above give the reason")
    if asked == GROUPS:
        write_json(workspace.report("benchmarks"), content)
        publish(workspace.root, content, rows)


def _run(group: str) -> list[Comparison] | None:
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
        return [Comparison.from_json(each) for each in json.loads(to.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    sys.exit(run_stage(main))
