"""A recipe of recipes/ -> the hours it will take, then `dvc exp run`; what `make kaggle` and `make recipe` call."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from deepfake_detector.io import read_json
from deepfake_detector.paths import Workspace
from deepfake_detector.recipe import describe_plan, experiment_command, read_recipe
from pipelines.stage import run_stage


def main() -> None:
    """Print what will be trained, then become DVC; with --plan only print."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.recipe", description="Train by a recipe.")
    parser.add_argument("recipe", type=Path, help="for example recipes/kaggle.yaml")
    parser.add_argument("--plan", action="store_true", help="print the expected hours and the command, and stop")
    arguments = parser.parse_args()
    workspace = Workspace().enter()
    recipe, settings = read_recipe(arguments.recipe, workspace.params)
    command = experiment_command(recipe, arguments.recipe.stem)
    benchmarks = read_json(workspace.report("benchmarks"), "restore it: git restore reports/benchmarks.json")
    print(describe_plan(recipe, settings, benchmarks), flush=True)
    if arguments.plan:
        print(shlex.join(command))
        return
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(run_stage(main))
