"""A zip of real pictures and an autoencoder's weights -> a labelled zip of real faces and their reconstructions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Make pairs from the arguments; docs/data.md says how they are trained on."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.reconstructions",
        description="Make pairs of real faces and the same faces through the autoencoder TAEF2.",
    )
    parser.add_argument("--weights", type=Path, nargs=2, required=True, metavar=("ENCODER", "DECODER"),
                        help="taef2_encoder.pth and taef2_decoder.pth of github.com/madebyollin/taesd")  # fmt: skip
    parser.add_argument("--source", type=Path, required=True, help="zip with real pictures: data/raw/NAME.zip")
    parser.add_argument("--out", type=Path, required=True, help="the zip to write")
    parser.add_argument("--pairs", type=int, required=True, help="of the training split; an eighth for each other one")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    workspace = Workspace().enter()
    from deepfake_detector.config import read_settings
    from deepfake_detector.datasets.reconstructed_pairs import PairOptions, write_reconstructed_pairs
    from deepfake_detector.model.autoencoder import TinyAutoencoder  # loads TensorFlow

    limit = read_settings(workspace.params).download.max_unpacked_bytes
    options = PairOptions(arguments.pairs, arguments.seed, limit)
    autoencoder = TinyAutoencoder.read(*arguments.weights)
    made = write_reconstructed_pairs(arguments.source, arguments.out, autoencoder, options)
    print(f"{arguments.out}: " + ", ".join(f"{pairs} pairs for {split}" for split, pairs in made.items()))


if __name__ == "__main__":
    sys.exit(run_stage(main))
