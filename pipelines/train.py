"""data/shards -> models/trained/model.keras, reports/train/history.csv, reports/train.json and an MLflow run."""

from __future__ import annotations

import sys
import time

from deepfake_detector.config import read_settings
from deepfake_detector.io import suppress_native_stderr, write_json
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Train the network, resuming an interrupted training."""
    workspace = Workspace().enter()  # before TensorFlow reads its environment
    with suppress_native_stderr():
        from deepfake_detector.preparation.shards import Shards
        from deepfake_detector.tracking.runs import log_training_result
        from deepfake_detector.training.plan import plan_training, run_context, write_training_outputs

    settings = read_settings(workspace.params)
    shards = Shards.open(workspace.shards)
    plan = plan_training(workspace, settings, shards)
    started_s = time.monotonic()
    with run_context(workspace, settings, shards) as run:
        result = plan.fit(run)
        report = write_training_outputs(workspace, settings, result, plan.kinds)
        seconds = round(time.monotonic() - started_s, 1)
        log_training_result(run.run_id, report["weights_sha256"], seconds, result.resumed_at_epoch)
        write_json(workspace.report("train"), report)
        run.checkpoint.clear()


if __name__ == "__main__":
    sys.exit(run_stage(main))
