"""reports/benchmarks.json -> README.md's marked block; `python -m benchmarks.readme` writes it and the figure anew."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figure import draw
from benchmarks.table import about, markdown
from benchmarks.timing import Row
from deepfake_detector.errors import BadInput, ModelNotFound
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage

BEGIN, END = "<!-- benchmarks: written by `make bench` -->", "<!-- end of benchmarks -->"


def block(content: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """What stands between the marks."""
    figure = "![How many times faster, with spread and goal](docs/images/benchmarks.png)"
    return f"{BEGIN}\n{figure}\n\n{markdown(rows)}\nMeasured by `make bench`: {about(content)}.\n{END}"


def write_into(readme: Path, content: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Put the table between the marks, leaving all else as it is.

    Raises:
        BadInput: the marks are not there, once each and in order.
    """
    text = readme.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BadInput(
            f"{readme.name} has no block for the table", f"put two lines where it belongs: {BEGIN} and {END}"
        )
    readme.write_text(before + block(content, rows) + after, encoding="utf-8")


def main() -> None:
    """Write table and figure from the last report."""
    workspace = Workspace().enter()
    report = workspace.report("benchmarks")
    if not report.is_file():
        raise ModelNotFound(f"there is no {report.name} in {report.parent.name}/", "run `make bench`")
    content = json.loads(report.read_text(encoding="utf-8"))
    rows = [Row.from_json(each) for each in content["rows"]]
    write_into(workspace.root / "README.md", content, rows)
    draw(content, rows, workspace.root / "docs" / "images" / "benchmarks.png")


if __name__ == "__main__":
    sys.exit(run_stage(main))
