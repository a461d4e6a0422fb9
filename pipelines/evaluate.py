"""models/trained, data/shards and data/raw -> models/bundle, two JSON reports and all in reports/evaluate/.

reports/evaluate.json holds every figure with its interval, reports/metrics.json the few that DVC's tables show.
"""

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
        from deepfake_detector.evidence.tables import key_metrics
        from pipelines.exhibits import exhibit
        from pipelines.judgement import judge, seal
        from pipelines.trials import find_out, send

    settings = read_settings(workspace.params)
    shards = Shards.open(workspace.shards)
    with tempfile.TemporaryDirectory() as scratch:
        judgement = judge(workspace, settings, shards, Path(scratch))
        gone = send(workspace, settings, judgement)
        found = find_out(settings, judgement, gone)
        bundle = seal(workspace, judgement, found, Path(scratch))
    folder, bins = workspace.figures("evaluate"), settings.evaluate.calibration_bins
    exhibit(folder, judgement, found, gone, bundle, bins)
    report = found.headline() | judgement.report() | {"bundle_sha256": bundle.sha256}
    write_report(workspace.report("evaluate"), report)
    write_report(workspace.report("metrics"), key_metrics(report))


if __name__ == "__main__":
    sys.exit(run_stage(main))
