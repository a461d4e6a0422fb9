"""models/trained, data/shards and data/raw -> models/bundle, two JSON reports and all in reports/evaluate/.

reports/evaluate.json holds every metric with its interval, reports/metrics.json the few that `dvc metrics` shows.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from deepfake_detector.config import read_settings
from deepfake_detector.io import suppress_native_stderr, write_json
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Evaluate the trained model on the test split with the engine that serves it, and seal the bundle."""
    workspace = Workspace().enter()  # before TensorFlow reads its environment
    with suppress_native_stderr():
        from deepfake_detector.evaluation.evaluate import evaluate, evaluation_settings, score_pictures, score_videos
        from deepfake_detector.evaluation.predictions import predict_splits, seal_bundle
        from deepfake_detector.evaluation.report import write_report
        from deepfake_detector.evaluation.result_tables import key_metrics
        from deepfake_detector.preparation.shards import Shards

    settings = evaluation_settings(read_settings(workspace.params))
    shards = Shards.open(workspace.shards)
    with tempfile.TemporaryDirectory() as scratch:
        predictions = predict_splits(workspace, settings, shards, Path(scratch))
        grid_scores = score_pictures(workspace, settings, predictions)
        videos = score_videos(workspace, settings, predictions, Path(scratch))
        results = evaluate(settings, predictions, grid_scores, videos)
        bundle = seal_bundle(workspace, predictions, results, grid_scores, Path(scratch))
    bins = settings.evaluate.calibration_bins
    write_report(workspace.figures("evaluate"), predictions, results, grid_scores, bundle, bins)
    report = results.headline() | predictions.report() | {"bundle_sha256": bundle.sha256}
    write_json(workspace.report("evaluate"), report)
    write_json(workspace.report("metrics"), key_metrics(report))


if __name__ == "__main__":
    sys.exit(run_stage(main))
