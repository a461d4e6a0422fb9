"""The stage `prepare`: every picture of the manifest ends as a crop or as a reason."""

import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from deepfake_detector.data.archives import ROOT, pack
from deepfake_detector.data.manifest import build_manifest, write_manifest
from deepfake_detector.data.sample import draw_sample
from deepfake_detector.data.shards import Shards
from deepfake_detector.media.image import encode_jpeg
from deepfake_detector.workspace import Workspace
from pipelines.prepare import main
from pipelines.stage import run_stage

PARAMS = Path(__file__).parents[2] / "params.yaml"
FACELESS = f"{ROOT}/train/real/wall.jpg"


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Workspace, "enter", lambda self: self)
    workspace = Workspace()
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    params["prepare"]["side_px"] = 64
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    pictures = {
        f"{ROOT}/{split}/{label}/{i}.jpg": draw_sample(5, split, label, i)
        for split in ("train", "valid", "test")
        for label in ("real", "fake")
        for i in range(3)
    }
    workspace.archive.parent.mkdir(parents=True)
    wall = np.random.default_rng(0).integers(90, 110, (256, 256, 3), dtype=np.uint8)
    pack(workspace.archive, (pictures | {FACELESS: encode_jpeg(wall)}).items())
    write_manifest(build_manifest(workspace.archive, "sample", "synthetic", 2**30), workspace.manifest)
    return workspace


def test_every_picture_is_a_crop_or_a_reason(workspace) -> None:
    assert run_stage(main) == 0
    shards = Shards.open(workspace.shards)
    assert (shards.side_px, shards.crops) == (64, {"train": 6, "valid": 6, "test": 6})
    index = pd.read_parquet(workspace.shards / "index.parquet")
    assert len(index) == 19
    assert index.set_index("path").loc[FACELESS, "reason"] == "no face found"
    report = json.loads(workspace.report("prepare").read_text(encoding="utf-8"))
    assert report["left_out_paths"] == [FACELESS]
    assert report["left_out"] == [{"split": "train", "label": 0, "n": 1}]


def test_the_same_archive_gives_the_same_crops(workspace) -> None:
    digests = []
    for _ in range(2):
        assert run_stage(main) == 0
        digests.append([Shards.open(workspace.shards).digest(split) for split in ("train", "valid", "test")])
    assert digests[0] == digests[1]
