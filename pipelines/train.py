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
        from deepfake_detector.training.plan import plan_training, run_context, write_training_outputs

    settings = read_settings(workspace.params)
    shards = Shards.open(workspace.shards)
    plan = plan_training(settings.train, shards)
    started_s = time.monotonic()
    with run_context(workspace, settings, shards) as run:
        report = write_training_outputs(workspace, settings, plan.fit(run), plan.kinds)
        seconds = round(time.monotonic() - started_s, 1)
        write_json(
            workspace.report("train"), report | {"run_id": run.run_id, "git_commit": run.git_commit, "seconds": seconds}
        )
        run.checkpoint.clear()


if __name__ == "__main__":
    sys.exit(run_stage(main))
