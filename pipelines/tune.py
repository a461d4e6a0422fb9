"""data/shards -> better values for params.yaml's `train`: reports/tune.json, reports/tune/ and runs in MLflow.

No stage of the road: `python -m pipelines.tune --trials 20 [--epochs 12]`. The validation split judges; the test split
is never read. Called again, it goes on where it was, until so many trials are behind it in all.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from deepfake_detector.config import read_settings
from deepfake_detector.io import native_stderr_held_back
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Try settings, follow each trial live, say which are the best so far."""
    wanted = _arguments()
    workspace = Workspace().enter()  # before TensorFlow reads its environment
    settings = read_settings(workspace.params)
    settings = replace(settings, train=replace(settings.train, epochs=wanted.epochs or settings.train.epochs))
    with native_stderr_held_back():
        from deepfake_detector.preparation.shards import Shards
        from deepfake_detector.training.tuning import tune
    tune(workspace, settings, Shards.open(workspace.shards), wanted.trials)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.tune", description="Look for better train settings.")
    parser.add_argument("--trials", type=_count, required=True, help="in all, those of earlier calls included")
    parser.add_argument("--epochs", type=_count, help="of each trial (default: params.yaml train.epochs)")
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(run_stage(main))
