"""params.yaml `download:` -> data/raw, the zip or zips of each source, and reports/download.json."""

from __future__ import annotations

import sys
from dataclasses import asdict

from deepfake_detector.config import read_settings
from deepfake_detector.datasets.sources import fetch_all
from deepfake_detector.io import write_json
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Fetch the verified archives of all sources."""
    workspace = Workspace().enter()
    settings = read_settings(workspace.params).download
    fetched = fetch_all(settings, workspace.raw)
    write_json(workspace.report("download"), {"sources": [asdict(source) for source in fetched]})


if __name__ == "__main__":
    sys.exit(run_stage(main))
