"""data/shards -> models/trained/model.keras, reports/train/history.csv, reports/train.json and one live MLflow run."""

from __future__ import annotations

import sys
import time

from deepfake_detector.settings import read_settings
from deepfake_detector.workspace import Workspace
from pipelines.stage import quietly, run_stage, write_report


def main() -> None:
    """Fit the network, going on where a killed training stopped."""
    workspace = Workspace().enter()  # before TensorFlow reads its environment
    with quietly():
        from deepfake_detector.data.batches import HELD_OUT_BATCH, held_out_batches, steps_per_epoch, training_batches
        from deepfake_detector.data.shards import Shards
        from deepfake_detector.model.training import train
        from pipelines.training_run import changes, follow, keep

    settings = read_settings(workspace.params)
    how, shards = settings.train, Shards.open(workspace.shards)
    kinds, augment, views = changes(how, shards.kinds)
    batches = training_batches(shards, how.batch_size, how.seed, kinds, augment)
    steps = steps_per_epoch(shards, how.batch_size)
    started_s = time.monotonic()
    with follow(workspace, settings, shards) as run:
        valid = held_out_batches(shards, "valid", HELD_OUT_BATCH, kinds, views)
        trained = train(how, shards.side_px, len(kinds), batches, steps, valid, run.checkpoint, run.log_epoch)
        report = keep(workspace, settings, trained, kinds)
        seconds = round(time.monotonic() - started_s, 1)
        write_report(workspace.report("train"), report | {"run_id": run.run_id, "seconds": seconds})
        run.checkpoint.clear()


if __name__ == "__main__":
    sys.exit(run_stage(main))
