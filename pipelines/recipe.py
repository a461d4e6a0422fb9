"""A recipe of recipes/ -> the hours it will take, then `dvc exp run`; what `make kaggle`, `own` and `recipe` call."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from deepfake_detector.datasets.sources import fetch
from deepfake_detector.io import read_json
from deepfake_detector.paths import Workspace
from deepfake_detector.recipe import describe_plan, experiment_command, read_recipe, with_own_pictures
from pipelines.stage import run_stage


def main() -> None:
    """Print what will be trained, then become DVC."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.recipe", description="Train by a recipe.")
    parser.add_argument("recipe", type=Path, help="for example recipes/kaggle.yaml")
    parser.add_argument("--plan", action="store_true", help="only print the expected hours and the command")
    parser.add_argument("--pictures", type=Path, help="own pictures, a zip or folder, as the recipe's first source")
    parser.add_argument("--fakes", choices=["synthetic", "swap"], default="synthetic", help="kind of their fakes")
    arguments, workspace = parser.parse_args(), Workspace().enter()
    recipe, settings = read_recipe(arguments.recipe, workspace.params)
    if arguments.pictures is not None:
        source = replace(settings.download.sources[0], location=str(arguments.pictures), sha256="")
        with tempfile.TemporaryDirectory() as folder:
            found = fetch(source, settings.download, Path(folder) / "own.zip")
        recipe = with_own_pictures(recipe, settings, arguments.pictures, arguments.fakes, found.sha256, found.counts)
    rates = read_json(workspace.report("benchmarks"), "restore it: git restore reports/benchmarks.json")
    print(describe_plan(recipe, settings, rates), flush=True)
    # DVC refuses the name of an earlier experiment with other results.
    command = experiment_command(recipe, f"{arguments.recipe.stem}-{time.strftime('%Y%m%d-%H%M%S')}")
    if not arguments.plan:
        os.execvp(command[0], command)  # it does not return
    print(shlex.join(command))


if __name__ == "__main__":
    sys.exit(run_stage(main))
