"""data/shards -> models/trained/model.keras, reports/train/history.csv, reports/train.json and one live MLflow run."""

from __future__ import annotations

import sys
import time

from deepfake_detector.config import read_settings
from deepfake_detector.io import native_stderr_held_back, write_json
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Fit the network, going on where a killed training stopped."""
    workspace = Workspace().enter()  # before TensorFlow reads its environment
    with native_stderr_held_back():
        from deepfake_detector.preparation.shards import Shards
        from deepfake_detector.training.plan import course, follow, keep

    settings = read_settings(workspace.params)
    shards = Shards.open(workspace.shards)
    planned = course(settings.train, shards)
    started_s = time.monotonic()
    with follow(workspace, settings, shards) as run:
        trained = planned.fit(run)
        report = keep(workspace, settings, trained, planned.kinds)
        seconds = round(time.monotonic() - started_s, 1)
        write_json(
            workspace.report("train"), report | {"run_id": run.run_id, "git_commit": run.git_commit, "seconds": seconds}
        )
        run.checkpoint.clear()


if __name__ == "__main__":
    sys.exit(run_stage(main))
