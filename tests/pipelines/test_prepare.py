"""The stage `prepare`: every picture of the manifest ends as a crop or as a reason."""

import json
import os
import shutil
import signal
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from deepfake_detector.datasets.archive import ROOT, pack
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.media.image import decode_image, encode_jpeg, encode_png
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.validation import manifest
from deepfake_detector.validation.manifest import build_manifest, write_manifest
from pipelines.prepare import main
from pipelines.stage import run_stage

PARAMS = Path(__file__).parents[2] / "params.yaml"
FACELESS = f"faces/{ROOT}/train/real/wall.jpg"
CUT = f"faces/{ROOT}/valid/fake/cut.jpg"


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    drawn = {
        f"{ROOT}/{split}/{label}/{i}.jpg": draw_sample(5, split, label, i)
        for split in ("train", "valid", "test")
        for label in ("real", "fake")
        for i in range(3)
    }
    wall = encode_jpeg(np.random.default_rng(0).integers(90, 110, (256, 256, 3), dtype=np.uint8))
    cut = drawn[f"{ROOT}/valid/fake/0.jpg"][:4000]
    return drawn | {FACELESS.removeprefix("faces/"): wall, CUT.removeprefix("faces/"): cut}


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Workspace, "enter", lambda self: self)
    workspace = Workspace()
    workspace.raw.mkdir(parents=True)
    (workspace.root / "drop.txt").write_text("", encoding="utf-8")
    return workspace


def validated(workspace: Workspace, pictures: dict[str, bytes], **settings: object) -> None:
    """Leave what the stage reads."""
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    params["prepare"] |= {"side_px": 64} | settings
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    pack(workspace.raw / "faces.zip", pictures.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "in_order", map)  # worker processes take seconds to start
        write_manifest(build_manifest(workspace.raw, {"faces": "synthetic"}, 2**30), workspace.manifest)


def prepared(workspace: Workspace, pictures: dict[str, bytes], **settings: object) -> tuple[dict, pd.DataFrame]:
    """Run the stage; its report and its index by path."""
    validated(workspace, pictures, **settings)
    assert run_stage(main) == 0
    report = json.loads(workspace.report("prepare").read_text(encoding="utf-8"))
    return report, pd.read_parquet(workspace.shards / "index.parquet").set_index("path")


def test_every_picture_is_a_crop_or_a_reason(workspace, pictures) -> None:
    report, index = prepared(workspace, pictures)
    shards = Shards.open(workspace.shards)
    assert (shards.side_px, shards.crops) == (64, {"train": 6, "valid": 6, "test": 6})
    assert sorted(index.index) == sorted(f"faces/{path}" for path in pictures)
    assert index.loc[FACELESS, ["why", "reason"]].tolist() == ["faceless", "no face found"]
    assert index.loc[CUT, "why"] == "unreadable"
    assert "cut short" in index.loc[CUT, "reason"]
    assert [row["path"] for row in report["left_out_first"]] == [FACELESS, CUT]
    assert report["left_out"] == [
        {"source": "faces", "split": "train", "label": 0, "why": "faceless", "n": 1},
        {"source": "faces", "split": "valid", "label": 1, "why": "unreadable", "n": 1},
    ]
    assert report["crops_per_source"] == {"faces": {"train": 6, "valid": 6, "test": 6}}
    assert set(shards.arrays("test").sources) == {"faces"}


def test_the_same_archive_gives_the_same_crops(workspace, pictures) -> None:
    digests = []
    for _ in range(2):
        prepared(workspace, pictures)
        digests.append([Shards.open(workspace.shards).arrays(split).sha256 for split in ("train", "valid", "test")])
    assert digests[0] == digests[1]


def test_pictures_on_the_list_are_left_out_and_unknown_names_are_told(workspace, pictures) -> None:
    unwanted = f"faces/{ROOT}/train/fake/1.jpg"
    (workspace.root / "drop.txt").write_text(f"# looks odd\n{unwanted}\nfaces/typo.jpg\n", encoding="utf-8")
    report, index = prepared(workspace, pictures)
    assert index.loc[unwanted, ["why", "shard"]].tolist() == ["listed", ""]
    assert len(index) == len(pictures)
    assert report["crops"]["train"] == 5
    assert report["drop_unknown"] == ["faces/typo.jpg"]


def test_copies_stay_in_the_most_held_out_split_only(workspace, pictures) -> None:
    tested = pictures[f"{ROOT}/test/real/0.jpg"]
    again = encode_jpeg(decode_image(pictures[f"{ROOT}/test/fake/0.jpg"]), quality=70)
    spoilt = pictures | {f"{ROOT}/train/real/copy.jpg": tested, f"{ROOT}/train/fake/again.jpg": again}
    report, index = prepared(workspace, spoilt)
    assert report["crops"] == {"train": 8, "valid": 6, "test": 6}
    report, index = prepared(workspace, spoilt, drop_duplicates=True)
    assert report["crops"] == {"train": 6, "valid": 6, "test": 6}
    copy, near = (index.loc[f"faces/{ROOT}/train/{name}"] for name in ("real/copy.jpg", "fake/again.jpg"))
    assert (copy["why"], copy["reason"]) == ("copy", f"copy of faces/{ROOT}/test/real/0.jpg")
    assert (near["why"], near["reason"]) == ("near copy", f"near copy of faces/{ROOT}/test/fake/0.jpg")


def test_saving_anew_makes_both_classes_alike(workspace, pictures) -> None:
    """Real pictures as PNG, fakes as JPEG: the crops of a lossless and a lossy copy differ until both are saved."""
    drawn = pictures[f"{ROOT}/train/real/0.jpg"]
    lossless = {f"{ROOT}/test/real/png.png": encode_png(decode_image(drawn))}
    saved = {f"{ROOT}/test/real/png.png": encode_jpeg(decode_image(drawn), quality=60)}

    def crop(extra: dict[str, bytes], reencode: int) -> np.ndarray:
        report, _ = prepared(workspace, extra, reencode=reencode)
        assert report["reencode"] == reencode
        return Shards.open(workspace.shards).arrays("test").crops

    by_hand = crop(saved, 0)
    assert np.array_equal(crop(lossless, 60), by_hand)
    assert not np.array_equal(crop(lossless, 0), by_hand)


def test_another_picture_than_was_validated_is_refused(workspace, pictures, capsys) -> None:
    validated(workspace, pictures)
    name = f"{ROOT}/train/real/1.jpg"
    pack(workspace.raw / "faces.zip", (pictures | {name: pictures[f"{ROOT}/train/real/2.jpg"]}).items())
    assert run_stage(main) == 1
    assert f"faces/{name} is not the picture that was validated" in capsys.readouterr().err
    assert not workspace.shards.exists()


# Run by another process, which kills itself with the crop that is asked for: SIGKILL, nothing is tidied up.
DYING = """
import os, signal, sys
from deepfake_detector.paths import Workspace
from pipelines import prepare

def dying(*args, cut_crops=prepare.cut_crops):
    for i, crop in enumerate(cut_crops(*args)):
        if i == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield crop

Workspace.enter = lambda self: self
prepare.cut_crops = dying
prepare.main()
"""


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_and_leaves_the_same_bytes(workspace, pictures, monkeypatch) -> None:
    some = [data for name, data in pictures.items() if "/train/" in name and f"faces/{name}" != FACELESS]
    many = {f"{ROOT}/train/{('real', 'fake')[i % 2]}/again-{i}.jpg": some[i % len(some)] for i in range(260)}
    validated(workspace, pictures | many, shard_mib=1)
    per_shard = 2**20 // (64 * 64 * 3)
    assert run_stage(main) == 0
    whole = {path.name: path.read_bytes() for path in workspace.shards.iterdir()}
    assert [name for name in sorted(whole) if "train" in name] == [f"train-0000{i}.tfrecord" for i in range(4)]
    assert list(workspace.unfinished_shards.iterdir()) == []
    report = workspace.report("prepare").read_bytes()
    shutil.rmtree(workspace.shards)  # as DVC does before it runs a stage
    workspace.report("prepare").unlink()

    path = os.pathsep.join([str(PARAMS.parent), str(PARAMS.parent / "src")])
    killed = subprocess.run(
        [sys.executable, "-c", DYING, "200"], env=os.environ | {"PYTHONPATH": path}, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not workspace.shards.exists()
    left = sorted(path.name for path in workspace.unfinished_shards.rglob("*.*"))
    assert left == [
        "00000.parquet", "00001.parquet",
        "train-00000.tfrecord", "train-00001.tfrecord", "train-00002.tfrecord.part",
    ]  # fmt: skip

    cut = []
    monkeypatch.setattr("pipelines.prepare.tqdm", lambda crops, *_, **__: (cut.append(1) or crop for crop in crops))
    assert run_stage(main) == 0
    assert len(cut) <= len(pictures | many) - 2 * per_shard
    assert {path.name: path.read_bytes() for path in workspace.shards.iterdir()} == whole
    assert workspace.report("prepare").read_bytes() == report
    assert list(workspace.unfinished_shards.iterdir()) == []
