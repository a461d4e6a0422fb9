"""reports/benchmarks.json -> the full table in docs/performance.md, five rows in README.md, and the figure.

`python -m benchmarks.publish` writes all three from the last report.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figure import draw
from benchmarks.table import about, markdown
from benchmarks.timing import Comparison
from deepfake_detector.errors import BadInput, ModelNotFound
from deepfake_detector.io import atomic_write
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage

BEGIN, END = "<!-- benchmarks: written by `make bench` -->", "<!-- end of benchmarks -->"
# (what, against, which as the beginning of its name) of the rows in README.
IN_README = (
    ("score one face", "model.predict"),
    ("image, bytes to verdict", "Keras"),
    ("video to verdict", "decoding"),
    ("image over HTTP, 16 clients", "FastAPI"),
    ("scan 500 pictures", "deepfake predict"),
)


def publish(root: Path, content: Mapping[str, Any], rows: Sequence[Comparison]) -> None:
    """Write both tables and the figure.

    Args:
        root: the repository.
        content: reports/benchmarks.json: machine, date, load.
        rows: all comparisons.

    Raises:
        BadInput: a file has no marked block for its table.
    """
    figure = "![How many times faster, with spread and goal](images/benchmarks.png)"
    measured = f"Measured by `make bench`: {about(content)}."
    _replace_block(root / "docs" / "performance.md", f"{figure}\n\n{markdown(rows)}\n{measured}")
    chosen = [row for row in rows if any(row.name == what and row.other.startswith(other) for what, other in IN_README)]
    _replace_block(root / "README.md", f"{markdown(chosen)}\n{measured}")
    draw(content, rows, root / "docs" / "images" / "benchmarks.png")


def _replace_block(file: Path, text: str) -> None:
    content = file.read_text(encoding="utf-8")
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BadInput(f"{file.name} has no block for the table", f"put two lines where it belongs: {BEGIN} and {END}")
    with atomic_write(file) as temporary:
        temporary.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Publish the last report."""
    workspace = Workspace().enter()
    report = workspace.report("benchmarks")
    if not report.is_file():
        raise ModelNotFound(f"there is no {report.name} in {report.parent.name}/", "run `make bench`")
    content = json.loads(report.read_text(encoding="utf-8"))
    publish(workspace.root, content, [Comparison.from_json(each) for each in content["rows"]])


if __name__ == "__main__":
    sys.exit(run_stage(main))
