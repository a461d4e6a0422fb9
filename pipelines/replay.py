"""A bundle and validation crops of data/shards -> their features, for `train.replay`: what a fine-tuning must keep."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from deepfake_detector.config import read_settings
from deepfake_detector.errors import SettingsError
from deepfake_detector.io import suppress_native_stderr
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Measure the features of at most 200 validation crops of each class and source."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.replay", description=main.__doc__)
    parser.add_argument("--bundle", default="shipped", help="shipped (default), champion or a folder")
    parser.add_argument("--shards", type=Path, help="of the data that the bundle was made from; data/shards by default")
    parser.add_argument("--out", type=Path, default=Path("recipes/replay.npz"))
    arguments, workspace = parser.parse_args(), Workspace().enter()
    with suppress_native_stderr():
        from deepfake_detector.preparation.shards import Shards
        from deepfake_detector.training.replay import measure_bundle, write_replay
        from deepfake_detector.training.starting_weights import starting_weights

    settings = read_settings(workspace.params)
    shards = Shards.open(arguments.shards or workspace.shards)
    start = starting_weights(workspace, replace(settings.train, start_from=arguments.bundle))
    if start.contract is None:
        raise SettingsError(f"--bundle {arguments.bundle} is no bundle", "name shipped, champion or a bundle's folder")
    features, weights = measure_bundle(start, start.contract, shards), start.contract.weights_sha256
    write_replay(arguments.out, features, start.kinds, weights)
    print(f"{len(features.classes)} features of weights {weights[:12]} are in {arguments.out}")


if __name__ == "__main__":
    sys.exit(run_stage(main))
