"""data/shards -> how well the recipe does on sources it was not trained on: reports/generalize/ and MLflow runs.

A command, not a stage: `python -m pipelines.generalize [--minutes 10 | --epochs 3]`. Each family of sources is left out
of one training in turn. An interrupted call can be repeated: finished families are not trained again.
"""

from __future__ import annotations

import argparse
import sys

from deepfake_detector.config import read_settings
from deepfake_detector.io import suppress_native_stderr
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Train once per family without it, score its validation crops, write the report after each."""
    arguments, workspace = _arguments(), Workspace().enter()  # before TensorFlow reads its environment
    with suppress_native_stderr():
        from deepfake_detector.preparation.shards import Shards
        from deepfake_detector.training.generalization import find_folds, run_fold, with_epochs, with_minutes
        from deepfake_detector.training.generalization_report import write_generalization_report
    settings, shards = with_epochs(read_settings(workspace.params), arguments.epochs), Shards.open(workspace.shards)
    folds, results = find_folds(settings, shards), []
    if arguments.minutes:
        settings = with_minutes(workspace, settings, shards, arguments.minutes)
    for number, fold in enumerate(folds, start=1):
        print(f"\n{number} of {len(folds)}: without {fold.family} ({', '.join(fold.sources)})", flush=True)
        results.append(run_fold(workspace, settings, shards, fold))
        page = write_generalization_report(workspace.figures("generalize"), results, len(folds), settings.train)
    print(f"\n{page}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.generalize", description="Leave out each family.")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--epochs", type=int, help="of each training (default: params.yaml train.epochs)")
    budget.add_argument("--minutes", type=float, help="of each training, with balanced sampling")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run_stage(main))
