"""A sealed bundle + the test pictures of a checkout -> the same bundle in format 4, with a profile of these pictures.

`evaluate` writes the profile itself; this is for a bundle that was sealed without one, or whose test pictures changed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deepfake_detector.config import read_settings
from deepfake_detector.io import suppress_native_stderr
from deepfake_detector.paths import Workspace
from pipelines.stage import run_stage


def main() -> None:
    """Write profile.json into a bundle and seal it; graph, contract, reference outputs and answers stay as they are."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.profile", description=__doc__)
    parser.add_argument("bundle", type=Path, help="folder of a bundle")
    parser.add_argument("--data", type=Path, default=Path(), help="checkout with data/; default: this folder")
    arguments = parser.parse_args()
    workspace = Workspace(arguments.data).enter()
    with suppress_native_stderr():
        from deepfake_detector.evaluation.reference_profile import reference_profile, score_clean_pictures
        from deepfake_detector.evaluation.video_scores import engine_scorer
    from deepfake_detector.model.bundle import read_bundle
    from deepfake_detector.model.bundle_upgrade import with_profile

    bundle, settings = read_bundle(arguments.bundle), read_settings(workspace.params)
    grid_scores = score_clean_pictures(workspace, settings, bundle.contract, engine_scorer(bundle))
    profile = reference_profile(workspace, grid_scores, bundle.contract)
    sealed = with_profile(bundle, profile)
    print(f"{sealed.path}: a profile of {profile.pictures:,} pictures in {len(profile.groups)} groups; {sealed.sha256}")


if __name__ == "__main__":
    sys.exit(run_stage(main))
