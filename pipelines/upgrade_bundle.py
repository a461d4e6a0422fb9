"""A bundle of format 2 -> format 3, in place; videos are calibrated on this checkout's validation pictures, if any."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deepfake_detector.config import read_settings
from deepfake_detector.io import suppress_native_stderr
from deepfake_detector.model.bundle_upgrade import upgrade_bundle, with_video
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Upgrade the bundle that is named on the command line; its answers about images do not change."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.upgrade_bundle", description=__doc__)
    parser.add_argument("bundle", type=Path, help="folder of a bundle of format 2")
    path = parser.parse_args().bundle.resolve()
    workspace = Workspace().enter()
    settings = read_settings(workspace.params)
    options = settings.evaluate
    bundle = upgrade_bundle(path, (options.video_flag_false_positive_rate, options.strict_false_positive_rate))
    if not (workspace.shards / "shards.json").is_file():
        print(f"{path}: upgraded; no data/shards here, so videos get the mean of their frames and pictures' thresholds")
        return
    with suppress_native_stderr():
        from deepfake_detector.evaluation.video_scores import calibrate_videos, engine_scorer, measured_coverage
        from deepfake_detector.preparation.shards import Shards

    split = Shards.open(workspace.shards).arrays("valid")
    videos = calibrate_videos(workspace, settings, bundle.contract, split, engine_scorer(bundle))
    with_video(bundle, videos.calibration, measured_coverage(videos.measure()))
    print(f"{path}: upgraded; videos calibrated on {videos.calibration.videos} simulated ones")


if __name__ == "__main__":
    sys.exit(run_stage(main))
