"""Archives and manifest -> data/shards (TFRecord crops) and reports/prepare.json."""

from __future__ import annotations

import sys

from tqdm import tqdm

from deepfake_detector.data.archives import sha256_of
from deepfake_detector.data.crops import cut_crops
from deepfake_detector.data.wanted import in_random_order, wanted
from deepfake_detector.workspace import Workspace
from pipelines.stage import quietly, run_stage, write_report


def main() -> None:
    """Cut every picture's face and pack the crops; say of every picture that gives none why."""
    workspace = Workspace().enter()
    # Here, not above: every process that cuts imports this file, and needs neither pandas nor settings.
    from deepfake_detector.data.manifest import read_manifest
    from deepfake_detector.data.omissions import omissions
    from deepfake_detector.data.repairs import read_drop_list
    from deepfake_detector.data.unfinished import resume
    from deepfake_detector.settings import read_settings

    settings = read_settings(workspace.params)
    prepare, fake_kinds = settings.prepare, settings.download.fake_kinds
    with quietly():  # TensorFlow, which the processes that cut need not load
        from deepfake_detector.data.shards import summary, write_shards
    manifest = in_random_order(read_manifest(workspace.manifest), prepare.seed)
    drop_list = read_drop_list(workspace.root / prepare.drop)
    left_out = omissions(manifest, drop_list, workspace.raw, settings)
    digest = sha256_of(workspace.manifest)
    unfinished = resume(workspace.unfinished_shards, digest, prepare, fake_kinds, sorted(left_out.items()))
    pictures = wanted(manifest.iloc[unfinished.done :], left_out, as_they_are=prepare.reencode == 0)
    crops = cut_crops(workspace.raw, pictures, prepare, settings.download.max_unpacked_bytes)
    progress = tqdm(crops, "prepare", len(manifest), initial=unfinished.done, unit="picture", mininterval=1)
    shard_bytes = prepare.shard_mib * 2**20
    index = write_shards(progress, workspace.shards, prepare.side_px, shard_bytes, fake_kinds, unfinished)
    unknown = sorted(drop_list - set(manifest["path"]))
    write_report(workspace.report("prepare"), summary(index) | {"reencode": prepare.reencode, "drop_unknown": unknown})


if __name__ == "__main__":
    sys.exit(run_stage(main))
