"""Archives and manifest -> data/shards (TFRecord crops) and reports/prepare.json."""

from __future__ import annotations

import sys

from tqdm import tqdm

from deepfake_detector.data.crops import cut_crops, in_random_order
from deepfake_detector.data.manifest import read_manifest
from deepfake_detector.data.repairs import duplicates, listed, read_drop_list
from deepfake_detector.data.twins import group_twins
from deepfake_detector.settings import read_settings
from deepfake_detector.workspace import Workspace
from pipelines.stage import quietly, run_stage, write_report


def main() -> None:
    """Cut every picture's face and pack the crops; say of every picture that gives none why."""
    workspace = Workspace().enter()
    settings = read_settings(workspace.params)
    prepare = settings.prepare
    with quietly():  # TensorFlow, which the processes that cut need not load
        from deepfake_detector.data.shards import summary, write_shards
    limit = settings.download.max_unpacked_bytes
    manifest = read_manifest(workspace.manifest)
    drop_list = read_drop_list(workspace.root / prepare.drop)
    left_out = listed(manifest, drop_list)
    if prepare.drop_duplicates:
        rest = manifest[~manifest["path"].isin(left_out)]
        twins = group_twins(rest, workspace.raw, settings.validate.near_duplicate_bits, limit)
        left_out |= duplicates(rest, twins)
    entries = in_random_order(manifest, prepare.seed)
    crops = cut_crops(workspace.raw, entries, prepare, left_out, limit)
    progress = tqdm(crops, total=len(entries), desc="prepare", unit="picture", mininterval=1)
    index = write_shards(progress, workspace.shards, prepare.side_px, prepare.shard_mib * 2**20)
    unknown = sorted(drop_list - set(manifest["path"]))
    write_report(workspace.report("prepare"), summary(index) | {"reencode": prepare.reencode, "drop_unknown": unknown})


if __name__ == "__main__":
    sys.exit(run_stage(main))
