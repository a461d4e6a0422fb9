"""params.yaml `download:` -> data/raw, one zip per source, and reports/download.json."""

from __future__ import annotations

import sys
from dataclasses import asdict

from deepfake_detector.data.sources import fetch_all
from deepfake_detector.settings import read_settings
from deepfake_detector.workspace import Workspace
from pipelines.stage import run_stage, write_report


def main() -> None:
    """Bring one verified archive per source."""
    workspace = Workspace().enter()
    settings = read_settings(workspace.params).download
    fetched = fetch_all(settings, workspace.raw)
    write_report(workspace.report("download"), {"sources": [asdict(source) for source in fetched]})


if __name__ == "__main__":
    sys.exit(run_stage(main))
