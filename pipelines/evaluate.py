"""models/trained and data/shards -> models/bundle, reports/evaluate.json, and plots in reports/evaluate/."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from deepfake_detector.settings import read_settings
from deepfake_detector.workspace import Workspace
from pipelines.stage import quietly, run_stage, write_report


def main() -> None:
    """Judge the trained model on the test split, through the engine that serves it, and seal the bundle."""
    workspace = Workspace().enter()  # before TensorFlow reads its environment
    with quietly():
        from deepfake_detector.data.shards import Shards
        from deepfake_detector.evidence.figures import draw_all
        from deepfake_detector.evidence.tables import write_tables
        from pipelines.judgement import judge, seal

    settings = read_settings(workspace.params)
    shards = Shards.open(workspace.shards)
    with tempfile.TemporaryDirectory() as scratch:
        judgement = judge(workspace, settings, shards, Path(scratch))
        bundle = seal(workspace, judgement, Path(scratch))
    folder = workspace.figures("evaluate")
    draw_all(folder, judgement.p_fake, judgement.labels, judgement.history, judgement.test, judgement.thresholds,
             settings.evaluate.calibration_bins)  # fmt: skip
    write_tables(folder, judgement.paths, judgement.labels, judgement.p_fake, settings.evaluate.calibration_bins)
    write_report(workspace.report("evaluate"), judgement.report() | {"bundle_sha256": bundle.sha256})


if __name__ == "__main__":
    sys.exit(run_stage(main))
