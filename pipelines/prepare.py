"""data/raw and data/manifest.parquet -> data/shards (TFRecord crops) and reports/prepare.json."""

from __future__ import annotations

import sys

from tqdm import tqdm

from deepfake_detector.io import sha256_of_file, suppress_native_stderr, write_json
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.crop_requests import crop_requests, shuffled_within_splits
from deepfake_detector.preparation.crops import crop_images
from pipelines.stage import run_stage


def main() -> None:
    """Crop the largest face of every picture and write the shards; an index says why a picture has no crop."""
    workspace = Workspace().enter()
    # Worker processes import this file, and need neither pandas nor settings.
    from deepfake_detector.config import read_settings
    from deepfake_detector.preparation.exclusions import find_exclusions, read_drop_list
    from deepfake_detector.preparation.partial_shards import resume_partial_shards
    from deepfake_detector.validation.manifest import read_manifest

    settings = read_settings(workspace.params)
    prepare, fake_kinds = settings.prepare, settings.download.fake_kinds
    with suppress_native_stderr():  # TensorFlow
        from deepfake_detector.preparation.crop_probes import probe_training_crops
        from deepfake_detector.preparation.shard_writer import summarize_index, write_shards
    manifest = shuffled_within_splits(read_manifest(workspace.manifest), prepare.seed, settings.download.left_out)
    drop_list = read_drop_list(workspace.root / prepare.drop)
    exclusions = find_exclusions(manifest, drop_list, workspace.raw, settings)
    key = (prepare, fake_kinds, sorted(exclusions.items()), sorted(settings.download.left_out))
    partial = resume_partial_shards(workspace.partial_shards, sha256_of_file(workspace.manifest), *key)
    requests = crop_requests(manifest.iloc[partial.pictures :], exclusions, reuse_faces=prepare.reencode == 0)
    crops = crop_images(workspace.raw, requests, prepare, settings.download.max_unpacked_bytes)
    progress = tqdm(crops, "prepare", len(manifest), initial=partial.pictures, unit="picture", mininterval=1)
    index = write_shards(progress, workspace.shards, prepare.side_px, prepare.shard_mib * 2**20, fake_kinds, partial)
    probes = probe_training_crops(workspace.shards, settings.validate)
    summary = {"reencode": prepare.reencode, "unknown_in_drop_list": sorted(drop_list - set(manifest["path"]))}
    write_json(workspace.report("prepare"), summarize_index(index) | summary | {"probes": probes})


if __name__ == "__main__":
    sys.exit(run_stage(main))
