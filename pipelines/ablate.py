"""data/shards -> what each part of the recipe is worth: docs/ablations.md, reports/ablate.json and runs in MLflow.

No stage of the road: `python -m pipelines.ablate [--epochs 12]`. The default recipe is built up step by step from the
original network; each step is a training of its own. A call that was stopped goes on: finished steps are read again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from deepfake_detector.config import read_settings
from deepfake_detector.io import native_stderr_held_back, write_json
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Train every step, judge it on the test split, write the table."""
    epochs = _arguments().epochs
    workspace = Workspace().enter()  # before TensorFlow reads its environment
    settings = read_settings(workspace.params)
    settings = replace(settings, train=replace(settings.train, epochs=epochs or settings.train.epochs))
    with native_stderr_held_back():
        from deepfake_detector.preparation.shards import Shards
        from deepfake_detector.training.ablation import climb, table
    report = climb(workspace, settings, Shards.open(workspace.shards))
    write_json(workspace.report("ablate"), report)
    page = workspace.root / "docs" / "ablations.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(table(report), encoding="utf-8")
    print(f"\n{page.read_text(encoding='utf-8')}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.ablate", description="What is each part worth?")
    parser.add_argument("--epochs", type=int, help="of each training (default: params.yaml train.epochs)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run_stage(main))
