"""Archive and manifest -> data/shards (TFRecord crops) and reports/prepare.json."""

from __future__ import annotations

import sys

from tqdm import tqdm

from deepfake_detector.data.crops import cut_crops, in_random_order
from deepfake_detector.data.manifest import read_manifest
from deepfake_detector.settings import read_settings
from deepfake_detector.workspace import Workspace
from pipelines.stage import quietly, run_stage, write_report


def main() -> None:
    """Cut every picture's face and pack the crops."""
    workspace = Workspace().enter()
    settings = read_settings(workspace.params)
    with quietly():  # TensorFlow, which the processes that cut need not load
        from deepfake_detector.data.shards import write_shards
    prepare = settings.prepare
    entries = in_random_order(read_manifest(workspace.manifest), prepare.seed)
    limit = int(settings.download.max_unpacked_gib * 2**30)
    with cut_crops(workspace.archive, entries, prepare.side_px, prepare.min_face_px, limit) as crops:
        progress = tqdm(crops, total=len(entries), desc="prepare", unit="picture", mininterval=1)
        index = write_shards(progress, workspace.shards, prepare.side_px, prepare.shard_mib * 2**20)
    left_out = index[index["reason"] != ""]
    write_report(
        workspace.report("prepare"),
        {
            "crops": index[index["reason"] == ""].groupby("split").size().to_dict(),
            "left_out": left_out.groupby(["split", "label"]).size().rename("n").reset_index().to_dict("records"),
            "left_out_paths": left_out["path"].head(50).tolist(),
        },
    )


if __name__ == "__main__":
    sys.exit(run_stage(main))
