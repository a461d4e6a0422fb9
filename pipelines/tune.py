"""data/shards -> better settings for params.yaml's `train`: reports/tune.json, reports/tune/ and MLflow runs.

A command, not a stage: `python -m pipelines.tune --trials 20 [--epochs 12]`. Trials are compared on the validation
split; the test split is not read. A second call continues until that many trials have ended in all.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from deepfake_detector.config import read_settings
from deepfake_detector.io import suppress_native_stderr
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Run trials, log each to MLflow, report the best settings so far."""
    arguments = _arguments()
    workspace = Workspace().enter()  # before TensorFlow reads its environment
    settings = read_settings(workspace.params)
    settings = replace(settings, train=replace(settings.train, epochs=arguments.epochs or settings.train.epochs))
    with suppress_native_stderr():
        from deepfake_detector.preparation.shards import Shards
        from deepfake_detector.training.tuning import tune
    tune(workspace, settings, Shards.open(workspace.shards), arguments.trials)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.tune", description="Search for better train settings.")
    parser.add_argument("--trials", type=_positive, required=True, help="in all, those of earlier calls included")
    parser.add_argument("--epochs", type=_positive, help="of each trial (default: params.yaml train.epochs)")
    return parser.parse_args()


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(run_stage(main))
