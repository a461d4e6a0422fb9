"""data/shards -> the effect of each part of the recipe: docs/ablations.md, reports/ablate.json and MLflow runs.

A command, not a stage: `python -m pipelines.ablate [--epochs 12]`. Each step is a training that adds one part, from the
original network to the full recipe. An interrupted call can be repeated: finished steps are not trained again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from deepfake_detector.config import read_settings
from deepfake_detector.io import atomic_write, suppress_native_stderr, write_json
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Train every step, score it on the test split, write the tables."""
    epochs = _arguments().epochs
    workspace = Workspace().enter()  # before TensorFlow reads its environment
    settings = read_settings(workspace.params)
    settings = replace(settings, train=replace(settings.train, epochs=epochs or settings.train.epochs))
    with suppress_native_stderr():
        from deepfake_detector.preparation.shards import Shards
        from deepfake_detector.training.ablation import ablation_page, run_ablation
    report = run_ablation(workspace, settings, Shards.open(workspace.shards))
    write_json(workspace.report("ablate"), report)
    page = ablation_page(report)
    with atomic_write(workspace.root / "docs" / "ablations.md") as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(f"\n{page}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.ablate", description="Measure each part of the recipe.")
    parser.add_argument("--epochs", type=int, help="of each training (default: params.yaml train.epochs)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run_stage(main))
