"""Pictures are corrupted whole and cropped afterwards; every row belongs to its crop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepfake_detector.config import Settings, read_settings
from deepfake_detector.datasets.archive import Archive
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.evaluation import random_corruption_crops
from deepfake_detector.evaluation.random_corruption_crops import corrupt_split
from deepfake_detector.media.corruptions import random_corruption
from deepfake_detector.media.face_alignment import align_face
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.media.image import decode_image
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.crops import FaceCropper
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import HeldOutSplit, Shards
from deepfake_detector.validation import manifest as manifests
from deepfake_detector.validation.manifest import build_manifest, read_manifest, write_manifest

SETTINGS = read_settings(Path(__file__).parents[2] / "params.yaml")
SIDE_PX = 48


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Twelve drawn pictures in an archive, a manifest, and shards in another order."""
    workspace = Workspace(tmp_path_factory.mktemp("checkout"))
    workspace.raw.mkdir(parents=True)
    names = [
        f"x/{split}/{label}/{i}.jpg" for split in ("valid", "test") for label in ("real", "fake") for i in range(3)
    ]
    pictures = {name: draw_sample(1, name.split("/")[1], name.split("/")[2], int(name[-5])) for name in names}
    write_zip(workspace.raw / "faces.zip", pictures.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifests, "process_map", map)
        write_manifest(build_manifest(workspace.raw, {"faces": "synthetic"}, 2**30), workspace.manifest)
    cropper = FaceCropper(SIDE_PX, 64, SETTINGS.prepare.crop_scale)
    with Archive(workspace.raw, 2**30) as archive:
        crops = [cropper(entry, archive.read(entry)) for entry in reversed(archive.entries)]
    write_shards(crops, workspace.shards, SIDE_PX, 10**7, {"faces": "synthetic"})
    return workspace


@pytest.fixture
def split(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> HeldOutSplit:
    monkeypatch.setattr(random_corruption_crops, "process_map", map)
    return Shards.open(workspace.shards).arrays("valid")


def seeded(seed: int) -> Settings:
    return replace(SETTINGS, evaluate=replace(SETTINGS.evaluate, seed=seed))


def test_without_corruption_the_crops_are_those_of_the_split(
    workspace: Workspace, split: HeldOutSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_corruption_crops, "random_corruption", lambda rgb, _: rgb)
    found = corrupt_split(workspace, SETTINGS, split, 2)
    assert np.array_equal(found, [split.crops, split.crops])


def test_the_picture_is_corrupted_before_its_face_is_cropped(workspace: Workspace, split: HeldOutSplit) -> None:
    found = corrupt_split(workspace, seeded(5), split, 3)
    assert found.shape == (3, *split.crops.shape)
    with Archive(workspace.raw, 2**30) as archive:
        entries = {entry.path: entry for entry in archive.entries}
        for row, path in enumerate(split.paths):
            rgb = decode_image(archive.read(entries[path]))
            face = FaceDetector().find(rgb)[0]
            for draw in range(3):
                corrupted = random_corruption(rgb, np.random.default_rng([5, draw, row]))
                expected = align_face(corrupted, face, SIDE_PX, SETTINGS.prepare.crop_scale)
                assert np.array_equal(found[draw, row], expected)


def test_a_face_that_the_manifest_does_not_know_keeps_its_clean_crop(workspace: Workspace, split: HeldOutSplit) -> None:
    manifest = read_manifest(workspace.manifest)
    manifest.loc[manifest["path"] == split.paths[2], "faces"] = 0
    faceless = Workspace(workspace.root / "faceless")
    faceless.manifest.parent.mkdir(parents=True)
    faceless.raw.symlink_to(workspace.raw, target_is_directory=True)
    manifest.to_parquet(faceless.manifest)
    found, before = corrupt_split(faceless, seeded(5), split, 2), corrupt_split(workspace, seeded(5), split, 2)
    assert np.array_equal(found[:, 2], [split.crops[2], split.crops[2]])
    others = [row for row in range(len(split.paths)) if row != 2]
    assert np.array_equal(found[:, others], before[:, others])


def test_the_corruption_depends_on_seed_and_draw(workspace: Workspace, split: HeldOutSplit) -> None:
    found = corrupt_split(workspace, seeded(5), split, 3)
    assert np.array_equal(corrupt_split(workspace, seeded(5), split, 1)[0], found[0])
    assert not np.array_equal(corrupt_split(workspace, seeded(6), split, 1)[0], found[0])
    assert not np.array_equal(found[0], found[1])
