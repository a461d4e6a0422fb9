"""Bundles are rescored on the test pictures of a checkout with the engine, sorted by path as the gate needs it."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake_detector.config import Settings, read_settings
from deepfake_detector.datasets.archive import Entry
from deepfake_detector.datasets.sources import fetch_all
from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.evaluation.rescoring import EngineRescorer
from deepfake_detector.inference.engine import Engine
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.crop_requests import crop_requests
from deepfake_detector.preparation.crops import CropResult, crop_images
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
        crops.append(CropResult(entry, pixels, landmarks_px=np.zeros((5, 2), np.float32)))
    write_shards(crops, workspace.shards, 64, 10**8, {"a": "synthetic", "b": "swap"})
    return workspace


def test_scores_are_those_of_the_engine_sorted_by_path(workspace: Workspace, tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle")
    table = EngineRescorer(workspace, settings(bundle.contract.crop_scale)).scores(bundle)
    split = Shards.open(workspace.shards).arrays("test")
    engine = Engine(bundle)
    expected = dict(zip(split.paths, engine.p_fake(engine.score(split.crops).logits), strict=True))
    assert list(table.paths) == sorted(split.paths)
    assert table.p_fake.tolist() == [expected[path] for path in table.paths]
    labels = dict(zip(split.paths, split.labels.tolist(), strict=True))
    assert table.labels.tolist() == [labels[path] for path in table.paths]
    assert (table.flag, table.test_digest) == (bundle.contract.thresholds.flag, split.sha256)
    assert {name: int(mask.sum()) for name, mask in table.slices.items()} == {"source: a": 6, "source: b": 6}


def rescorer_of_crops(workspace: Workspace, crop_scale: float) -> EngineRescorer:
    """Crop the test split at this scale, as `prepare` does, and rescore on the result."""
    prepare = replace(SETTINGS.prepare, side_px=64, crop_scale=crop_scale)
    manifest = read_manifest(workspace.manifest)
    requests = crop_requests(manifest[manifest["split"] == "test"], {}, reuse_faces=True)
    crops = crop_images(workspace.raw, requests, prepare, SETTINGS.download.max_unpacked_bytes)
    write_shards(crops, workspace.shards, 64, 10**8, {"faces": "synthetic"})
    return EngineRescorer(workspace, replace(SETTINGS, prepare=prepare))


def test_a_bundle_with_another_crop_scale_gets_crops_of_its_own(tmp_path: Path, tiny: Any) -> None:
    workspace = Workspace(tmp_path / "checkout")
    small = replace(SETTINGS.download, sample=replace(SETTINGS.download.sample, train=4, valid=4, test=8))
    fetch_all(small, workspace.raw)
    rows = build_manifest(workspace.raw, small.fake_kinds, small.max_unpacked_bytes)
    write_manifest(rows, workspace.manifest)
    wide = tiny.write_bundle(tmp_path / "wide", crop_scale=1.0)
    expected = rescorer_of_crops(workspace, 1.0).scores(wide)
    rescorer = rescorer_of_crops(workspace, 0.6)
    found = rescorer.scores(wide)
    assert len(found.paths) == 8
    assert found.paths == expected.paths
    assert np.array_equal(found.p_fake, expected.p_fake)
    narrow = rescorer.scores(tiny.write_bundle(tmp_path / "narrow", crop_scale=0.6))
    assert narrow.test_digest == found.test_digest  # the same pictures, so the two can be compared
    assert not np.array_equal(narrow.p_fake, found.p_fake)


def test_latency_is_measured_and_a_broken_graph_is_an_error(workspace: Workspace, tmp_path: Path, tiny: Any) -> None:
    bundle = tiny.write_bundle(tmp_path / "bundle")
    assert 0 < EngineRescorer(workspace, SETTINGS).latency_ms(bundle) < 10_000
    (bundle.path / "detector.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleCorrupt, match="OpenVINO cannot use"):
        EngineRescorer(workspace, SETTINGS).latency_ms(bundle)


def test_without_crops_the_next_command_is_named(tmp_path: Path, tiny: Any) -> None:
    with pytest.raises(ModelNotFound, match="no test pictures") as missing:
        EngineRescorer(Workspace(tmp_path / "empty"), SETTINGS).scores(tiny.write_bundle(tmp_path / "bundle"))
    assert "dvc pull" in missing.value.hint


def test_without_archives_pictures_cannot_be_cropped_again(workspace: Workspace, tmp_path: Path, tiny: Any) -> None:
    with pytest.raises(ModelNotFound, match="no archives"):
        EngineRescorer(workspace, settings(0.6)).scores(tiny.write_bundle(tmp_path / "bundle", crop_scale=1.0))


def test_latency_does_not_count_waiting_and_a_few_slow_runs(
    workspace: Workspace, tmp_path: Path, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine makes every run wait for a core, and some runs compute longer."""
    bundle = tiny.write_bundle(tmp_path / "bundle")
    score, calls = Engine.score, count()

    def delayed(engine: Engine, crops: Any) -> Any:
        time.sleep(0.02)
        if next(calls) % 3 == 0:
            busy_until_s = time.process_time() + 0.03
            while time.process_time() < busy_until_s:
                pass
        return score(engine, crops)

    monkeypatch.setattr(Engine, "score", delayed)
    assert EngineRescorer(workspace, SETTINGS).latency_ms(bundle) < 15
