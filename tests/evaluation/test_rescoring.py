"""A bundle on the test pictures of a checkout: the engine's own answers, in the order that the gate wants."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake_detector.config import Settings, read_settings
from deepfake_detector.datasets.archive import Entry
from deepfake_detector.datasets.sources import fetch_all
from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.evaluation.rescoring import TestPictures
from deepfake_detector.inference.engine import Engine
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.crops import Crop, cut_crops
from deepfake_detector.preparation.selection import wanted
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.validation.manifest import build_manifest, read_manifest, write_manifest

SETTINGS = read_settings(Path(__file__).parents[2] / "params.yaml")


def settings(crop_scale: float) -> Settings:
    return replace(SETTINGS, prepare=replace(SETTINGS.prepare, crop_scale=crop_scale))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("checkout"))
    rng = np.random.default_rng(0)
    crops = []
    for i in reversed(range(12)):  # shards hold them in any order
        pixels = rng.integers(0, 255, (64, 64, 3), np.uint8)
        entry = Entry(f"{'ab'[i % 2]}/{i:02d}.jpg", "test", i % 3 % 2, "", "ab"[i % 2])
        crops.append(Crop(entry, pixels, "", landmarks_px=np.zeros((5, 2), np.float32)))
    write_shards(crops, workspace.shards, 64, 10**8, {"a": "synthetic", "b": "swap"})
    return workspace


def test_scores_are_the_engines_own_sorted_by_name(workspace: Workspace, tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle")
    scores = TestPictures(workspace, settings(bundle.contract.crop_scale)).scores(bundle)
    held = Shards.open(workspace.shards).arrays("test")
    engine = Engine(bundle)
    expected = dict(zip(held.paths, engine.p_fake(engine.score(held.crops).logits), strict=True))
    assert list(scores.paths) == sorted(held.paths)
    assert scores.p_fake.tolist() == [expected[path] for path in scores.paths]
    labels = dict(zip(held.paths, held.labels.tolist(), strict=True))
    assert scores.labels.tolist() == [labels[path] for path in scores.paths]
    assert (scores.flag, scores.test_digest) == (bundle.contract.thresholds.flag, held.sha256)
    assert {name: int(members.sum()) for name, members in scores.slices.items()} == {"source: a": 6, "source: b": 6}


def cut_at(workspace: Workspace, crop_scale: float) -> TestPictures:
    """The test split's drawn portraits, cut as `prepare` cuts them."""
    how = replace(SETTINGS.prepare, side_px=64, crop_scale=crop_scale)
    manifest = read_manifest(workspace.manifest)
    pictures = wanted(manifest[manifest["split"] == "test"], {}, as_they_are=True)
    cut = cut_crops(workspace.raw, pictures, how, SETTINGS.download.max_unpacked_bytes)
    write_shards(cut, workspace.shards, 64, 10**8, {"faces": "synthetic"})
    return TestPictures(workspace, replace(SETTINGS, prepare=how))


def test_a_model_that_cuts_otherwise_gets_its_own_crops_of_the_same_pictures(tmp_path: Path, tiny: Any) -> None:
    workspace = Workspace(tmp_path / "checkout")
    few = replace(SETTINGS.download, sample=replace(SETTINGS.download.sample, train=4, valid=4, test=8))
    fetch_all(few, workspace.raw)
    rows = build_manifest(workspace.raw, few.fake_kinds, few.max_unpacked_bytes)
    write_manifest(rows, workspace.manifest)
    wider = tiny.write_bundle(tmp_path / "wider", crop_scale=1.0)
    by_the_road = cut_at(workspace, 1.0).scores(wider)
    at_hand = cut_at(workspace, 0.6)
    anew = at_hand.scores(wider)
    assert len(anew.paths) == 8
    assert anew.paths == by_the_road.paths
    assert np.array_equal(anew.p_fake, by_the_road.p_fake)
    narrower = at_hand.scores(tiny.write_bundle(tmp_path / "narrower", crop_scale=0.6))
    assert narrower.test_digest == anew.test_digest  # the same pictures, so the two compare
    assert not np.array_equal(narrower.p_fake, anew.p_fake)


def test_how_long_a_crop_takes_and_a_graph_that_does_not_run(workspace: Workspace, tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle")
    assert 0 < TestPictures(workspace, SETTINGS).latency_ms(bundle) < 10_000
    (bundle.path / "detector.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleCorrupt, match="OpenVINO cannot use"):
        TestPictures(workspace, SETTINGS).latency_ms(bundle)


def test_without_crops_the_next_command_is_named(tmp_path: Path, tiny: Any) -> None:
    with pytest.raises(ModelNotFound, match="no test pictures") as missing:
        TestPictures(Workspace(tmp_path / "empty"), SETTINGS).scores(tiny.write_bundle(tmp_path / "bundle"))
    assert "dvc pull" in missing.value.hint


def test_without_archives_another_cut_is_impossible(workspace: Workspace, tmp_path: Path, tiny: Any) -> None:
    with pytest.raises(ModelNotFound, match="no archives"):
        TestPictures(workspace, settings(0.6)).scores(tiny.write_bundle(tmp_path / "bundle", crop_scale=1.0))
