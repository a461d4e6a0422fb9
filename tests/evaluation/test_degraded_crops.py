"""Pictures are sent whole and cut afterwards; every row stays that of its crop."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepfake_detector.config import Settings, read_settings
from deepfake_detector.datasets.archive import Archive, pack
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.evaluation import degraded_crops
from deepfake_detector.evaluation.degraded_crops import sent_whole
from deepfake_detector.media.augmentation import as_traffic
from deepfake_detector.media.face_alignment import align
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.media.image import decode_image
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.crops import Cutter
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import Held, Shards
from deepfake_detector.validation.manifest import build_manifest, read_manifest, write_manifest

SETTINGS = read_settings(Path(__file__).parents[2] / "params.yaml")
SIDE_PX = 48


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    from deepfake_detector.validation import manifest

    workspace = Workspace(tmp_path_factory.mktemp("checkout"))
    workspace.raw.mkdir(parents=True)
    names = [
        f"x/{split}/{label}/{i}.jpg" for split in ("valid", "test") for label in ("real", "fake") for i in range(3)
    ]
    pictures = {name: draw_sample(1, *name.split("/")[1:3], int(name[-5])) for name in names}
    pack(workspace.raw / "faces.zip", pictures.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "in_order", map)
        write_manifest(build_manifest(workspace.raw, {"faces": "synthetic"}, 2**30), workspace.manifest)
    cutter = Cutter(SIDE_PX, 64, SETTINGS.prepare.crop_scale)
    with Archive(workspace.raw, 2**30) as archive:
        # Shards have their own order.
        crops = [cutter(entry, archive.read(entry)) for entry in reversed(archive.entries)]
    write_shards(crops, workspace.shards, SIDE_PX, 10**7, {"faces": "synthetic"})
    return workspace


@pytest.fixture
def held(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Held:
    monkeypatch.setattr(degraded_crops, "in_order", map)
    return Shards.open(workspace.shards).arrays("valid")


def seeded(seed: int) -> Settings:
    return replace(SETTINGS, evaluate=replace(SETTINGS.evaluate, seed=seed))


def test_untouched_pictures_give_the_crops_themselves(workspace: Workspace, held: Held, monkeypatch) -> None:
    monkeypatch.setattr(degraded_crops, "as_traffic", lambda rgb, _: rgb)
    found = sent_whole(workspace, SETTINGS, held, 2)
    assert np.array_equal(found, [held.crops, held.crops])


def test_the_picture_is_worn_before_its_face_is_cut(workspace: Workspace, held: Held) -> None:
    found = sent_whole(workspace, seeded(5), held, 3)
    assert found.shape == (3, *held.crops.shape)
    with Archive(workspace.raw, 2**30) as archive:
        entries = {entry.path: entry for entry in archive.entries}
        for row, path in enumerate(held.paths):
            rgb = decode_image(archive.read(entries[path]))
            face = FaceDetector().find(rgb)[0]
            for draw in range(3):
                worn = as_traffic(rgb, np.random.default_rng([5, draw, row]))
                assert np.array_equal(found[draw, row], align(worn, face, SIDE_PX, SETTINGS.prepare.crop_scale))


def test_a_face_that_only_the_picture_saved_anew_shows_stays_as_it_is(workspace: Workspace, held: Held) -> None:
    manifest = read_manifest(workspace.manifest)
    manifest.loc[manifest["path"] == held.paths[2], "faces"] = 0
    blind = Workspace(workspace.root / "blind")
    blind.manifest.parent.mkdir(parents=True)
    blind.raw.symlink_to(workspace.raw, target_is_directory=True)
    manifest.to_parquet(blind.manifest)
    found, before = sent_whole(blind, seeded(5), held, 2), sent_whole(workspace, seeded(5), held, 2)
    assert np.array_equal(found[:, 2], [held.crops[2], held.crops[2]])
    others = [row for row in range(len(held.paths)) if row != 2]
    assert np.array_equal(found[:, others], before[:, others])


def test_seed_and_draw_decide(workspace: Workspace, held: Held) -> None:
    found = sent_whole(workspace, seeded(5), held, 3)
    assert np.array_equal(sent_whole(workspace, seeded(5), held, 1)[0], found[0])
    assert not np.array_equal(sent_whole(workspace, seeded(6), held, 1)[0], found[0])
    assert not np.array_equal(found[0], found[1])


def test_worker_processes_load_neither_tensorflow_nor_pandas() -> None:
    code = (
        "import deepfake_detector.evaluation.degraded_crops, sys; "
        "print([name for name in ('tensorflow', 'pandas') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
