"""models/trained, data/shards and data/raw -> models/bundle, two JSON reports and all in reports/evaluate/.

reports/evaluate.json holds every figure with its interval, reports/metrics.json the few that DVC's tables show.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from deepfake_detector.config import read_settings
from deepfake_detector.io import native_stderr_held_back, write_json
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Judge the trained model on the test split, through the engine that serves it, and seal the bundle."""
    workspace = Workspace().enter()  # before TensorFlow reads its environment
    with native_stderr_held_back():
        from deepfake_detector.evaluation.evaluate import find_out, send
        from deepfake_detector.evaluation.predictions import judge, seal
        from deepfake_detector.evaluation.report import exhibit
        from deepfake_detector.evaluation.result_tables import key_metrics
        from deepfake_detector.preparation.shards import Shards

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
    write_json(workspace.report("evaluate"), report)
    write_json(workspace.report("metrics"), key_metrics(report))


if __name__ == "__main__":
    sys.exit(run_stage(main))
