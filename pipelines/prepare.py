"""Archives and manifest -> data/shards (TFRecord crops) and reports/prepare.json."""

from __future__ import annotations

import sys

from tqdm import tqdm

from deepfake_detector.io import native_stderr_held_back, sha256_of_file, write_json
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.crops import cut_crops
from deepfake_detector.preparation.selection import in_random_order, wanted
from pipelines.stage import run_stage


def main() -> None:
    """Cut every picture's face and pack the crops; say of every picture that gives none why."""
    workspace = Workspace().enter()
    # Here, not above: every process that cuts imports this file, and needs neither pandas nor settings.
    from deepfake_detector.config import read_settings
    from deepfake_detector.preparation.exclusions import omissions, read_drop_list
    from deepfake_detector.preparation.resume import resume
    from deepfake_detector.validation.manifest import read_manifest

    settings = read_settings(workspace.params)
    prepare, fake_kinds = settings.prepare, settings.download.fake_kinds
    with native_stderr_held_back():  # TensorFlow, which the processes that cut need not load
        from deepfake_detector.preparation.shard_writer import summary, write_shards
    manifest = in_random_order(read_manifest(workspace.manifest), prepare.seed)
    drop_list = read_drop_list(workspace.root / prepare.drop)
    left_out = omissions(manifest, drop_list, workspace.raw, settings)
    digest = sha256_of_file(workspace.manifest)
    unfinished = resume(workspace.unfinished_shards, digest, prepare, fake_kinds, sorted(left_out.items()))
    pictures = wanted(manifest.iloc[unfinished.done :], left_out, as_they_are=prepare.reencode == 0)
    crops = cut_crops(workspace.raw, pictures, prepare, settings.download.max_unpacked_bytes)
    progress = tqdm(crops, "prepare", len(manifest), initial=unfinished.done, unit="picture", mininterval=1)
    shard_bytes = prepare.shard_mib * 2**20
    index = write_shards(progress, workspace.shards, prepare.side_px, shard_bytes, fake_kinds, unfinished)
    unknown = sorted(drop_list - set(manifest["path"]))
    write_json(workspace.report("prepare"), summary(index) | {"reencode": prepare.reencode, "drop_unknown": unknown})


if __name__ == "__main__":
    sys.exit(run_stage(main))
