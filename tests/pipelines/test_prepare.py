"""The stage `prepare`: every picture of the manifest gives a crop or has a reason; an interrupted run resumes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from deepfake_detector.datasets.archive import KAGGLE_ROOT
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.media.image import decode_image, encode_jpeg, encode_png
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.crops import CropResult
from deepfake_detector.preparation.shards import RecordReader, Shards
from deepfake_detector.validation import manifest
from deepfake_detector.validation.manifest import build_manifest, write_manifest
from pipelines.prepare import main
from pipelines.stage import run_stage

PARAMS = Path(__file__).parents[2] / "params.yaml"
FACELESS = f"faces/{KAGGLE_ROOT}/train/real/wall.jpg"
TRUNCATED = f"faces/{KAGGLE_ROOT}/valid/fake/truncated.jpg"


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    drawn = {
        f"{KAGGLE_ROOT}/{split}/{label}/{i}.jpg": draw_sample(5, split, label, i)
        for split in ("train", "valid", "test")
        for label in ("real", "fake")
        for i in range(3)
    }
    wall = encode_jpeg(np.random.default_rng(0).integers(90, 110, (256, 256, 3), dtype=np.uint8))
    truncated = drawn[f"{KAGGLE_ROOT}/valid/fake/0.jpg"][:4000]
    return drawn | {FACELESS.removeprefix("faces/"): wall, TRUNCATED.removeprefix("faces/"): truncated}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Workspace, "enter", lambda self: self)
    workspace = Workspace()
    workspace.raw.mkdir(parents=True)
    (workspace.root / "drop.txt").write_text("", encoding="utf-8")
    return workspace


def validate(workspace: Workspace, pictures: dict[str, bytes], **settings: object) -> None:
    """Write what the stage reads."""
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    params["prepare"] |= {"side_px": 64} | settings
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    write_zip(workspace.raw / "faces.zip", pictures.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "process_map", map)  # worker processes take seconds to start
        write_manifest(build_manifest(workspace.raw, {"faces": "synthetic"}, 2**30), workspace.manifest)


def prepare(
    workspace: Workspace, pictures: dict[str, bytes], **settings: object
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Run the stage; return its report, and its index by path."""
    validate(workspace, pictures, **settings)
    assert run_stage(main) == 0
    report = json.loads(workspace.report("prepare").read_text(encoding="utf-8"))
    return report, pd.read_parquet(workspace.shards / "index.parquet").set_index("path")


def test_every_picture_gives_a_crop_or_has_a_reason(workspace: Workspace, pictures: dict[str, bytes]) -> None:
    report, index = prepare(workspace, pictures)
    shards = Shards.open(workspace.shards)
    assert (shards.side_px, shards.crops) == (64, {"train": 6, "valid": 6, "test": 6})
    assert sorted(index.index) == sorted(f"faces/{path}" for path in pictures)
    assert tuple(index[["code", "reason"]].loc[FACELESS]) == ("faceless", "no face found")
    assert index.loc[TRUNCATED, "code"] == "unreadable"
    assert "truncated" in str(index.loc[TRUNCATED, "reason"])
    assert [row["path"] for row in report["excluded_first"]] == [FACELESS, TRUNCATED]
    assert report["excluded"] == [
        {"source": "faces", "split": "train", "label": 0, "code": "faceless", "count": 1},
        {"source": "faces", "split": "valid", "label": 1, "code": "unreadable", "count": 1},
    ]
    assert report["crops_per_source"] == {"faces": {"train": 6, "valid": 6, "test": 6}}
    assert set(shards.arrays("test").sources) == {"faces"}


def test_training_pictures_get_matched_copies(workspace: Workspace, pictures: dict[str, bytes]) -> None:
    report, _ = prepare(workspace, pictures, matched_copies=2)
    shards = Shards.open(workspace.shards)
    assert shards.crops == report["crops"] == {"train": 6, "valid": 6, "test": 6}
    assert len(shards.arrays("train").paths) == 6
    index = shards.index()
    copies = index[index["copy"] > 0]
    assert len(copies) == 12
    assert set(copies["split"]) == {"train"}
    lost = sum(row["count"] for row in report["lost_copies"])
    assert shards.copies == report["copies"] == 12 - lost
    assert lost <= 2
    kept = index[(index["shard"] != "") & (index["split"] == "train")]
    with RecordReader(workspace.shards) as reader:
        records = [reader.read(shard, offset) for shard, offset in zip(kept["shard"], kept["offset"], strict=True)]
    assert [record.label for record in records] == kept["label"].tolist()
    assert len({record.pixels.tobytes() for record in records}) == len(records)


def test_the_same_archive_gives_the_same_crops(workspace: Workspace, pictures: dict[str, bytes]) -> None:
    digests = []
    for _ in range(2):
        prepare(workspace, pictures)
        digests.append([Shards.open(workspace.shards).arrays(split).sha256 for split in ("train", "valid", "test")])
    assert digests[0] == digests[1]


def test_listed_pictures_are_excluded_and_unknown_names_are_reported(
    workspace: Workspace, pictures: dict[str, bytes]
) -> None:
    listed = f"faces/{KAGGLE_ROOT}/train/fake/1.jpg"
    (workspace.root / "drop.txt").write_text(f"# looks odd\n{listed}\nfaces/typo.jpg\n", encoding="utf-8")
    report, index = prepare(workspace, pictures)
    assert tuple(index[["code", "shard"]].loc[listed]) == ("listed", "")
    assert len(index) == len(pictures)
    assert report["crops"]["train"] == 5
    assert report["unknown_in_drop_list"] == ["faces/typo.jpg"]


def test_duplicates_stay_in_the_most_held_out_split_only(workspace: Workspace, pictures: dict[str, bytes]) -> None:
    tested = pictures[f"{KAGGLE_ROOT}/test/real/0.jpg"]
    recompressed = encode_jpeg(decode_image(pictures[f"{KAGGLE_ROOT}/test/fake/0.jpg"]), quality=70)
    with_duplicates = pictures | {
        f"{KAGGLE_ROOT}/train/real/copy.jpg": tested,
        f"{KAGGLE_ROOT}/train/fake/recompressed.jpg": recompressed,
    }
    report, index = prepare(workspace, with_duplicates)
    assert report["crops"] == {"train": 8, "valid": 6, "test": 6}
    report, index = prepare(workspace, with_duplicates, drop_duplicates=True)
    assert report["crops"] == {"train": 6, "valid": 6, "test": 6}
    exact, near = (
        index.loc[f"faces/{KAGGLE_ROOT}/train/{name}"] for name in ("real/copy.jpg", "fake/recompressed.jpg")
    )
    assert (exact["code"], exact["reason"]) == ("duplicate", f"duplicate of faces/{KAGGLE_ROOT}/test/real/0.jpg")
    assert (near["code"], near["reason"]) == (
        "near_duplicate",
        f"near-duplicate of faces/{KAGGLE_ROOT}/test/fake/0.jpg",
    )


def test_recompression_makes_both_classes_alike(workspace: Workspace, pictures: dict[str, bytes]) -> None:
    """Crops of a lossless and a lossy copy differ until both are recompressed."""
    drawn = pictures[f"{KAGGLE_ROOT}/train/real/0.jpg"]
    lossless = {f"{KAGGLE_ROOT}/test/real/png.png": encode_png(decode_image(drawn))}
    saved = {f"{KAGGLE_ROOT}/test/real/png.png": encode_jpeg(decode_image(drawn), quality=60)}

    def crop(extra: dict[str, bytes], reencode: int) -> np.ndarray:
        report, _ = prepare(workspace, extra, reencode=reencode)
        assert report["reencode"] == reencode
        return Shards.open(workspace.shards).arrays("test").crops

    expected = crop(saved, 0)
    assert np.array_equal(crop(lossless, 60), expected)
    assert not np.array_equal(crop(lossless, 0), expected)


def test_another_picture_than_was_validated_is_refused(
    workspace: Workspace, pictures: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    validate(workspace, pictures)
    name = f"{KAGGLE_ROOT}/train/real/1.jpg"
    write_zip(workspace.raw / "faces.zip", (pictures | {name: pictures[f"{KAGGLE_ROOT}/train/real/2.jpg"]}).items())
    assert run_stage(main) == 1
    assert f"faces/{name} is not the picture that was validated" in capsys.readouterr().err
    assert not workspace.shards.exists()


# Run by another process, which kills itself at a given crop: SIGKILL, nothing is cleaned up.
KILLED = """
import os, signal, sys
from deepfake_detector.paths import Workspace
from pipelines import prepare

def killed(*args, crop_images=prepare.crop_images):
    for i, crop in enumerate(crop_images(*args)):
        if i == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        yield crop

Workspace.enter = lambda self: self
prepare.crop_images = killed
prepare.main()
"""


@pytest.mark.slow
def test_a_killed_run_resumes_and_writes_the_same_bytes(
    workspace: Workspace, pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [data for name, data in pictures.items() if "/train/" in name and f"faces/{name}" != FACELESS]
    many = {f"{KAGGLE_ROOT}/train/{('real', 'fake')[i % 2]}/copy-{i}.jpg": some[i % len(some)] for i in range(260)}
    validate(workspace, pictures | many, shard_mib=1)
    per_shard = 2**20 // (64 * 64 * 3)
    assert run_stage(main) == 0
    expected = {path.name: path.read_bytes() for path in workspace.shards.iterdir()}
    assert [name for name in sorted(expected) if "train" in name] == [f"train-0000{i}.tfrecord" for i in range(4)]
    assert list(workspace.partial_shards.iterdir()) == []
    report = workspace.report("prepare").read_bytes()
    shutil.rmtree(workspace.shards)  # as DVC does before it runs a stage
    workspace.report("prepare").unlink()

    path = os.pathsep.join([str(PARAMS.parent), str(PARAMS.parent / "src")])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "200"], env=os.environ | {"PYTHONPATH": path}, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not workspace.shards.exists()
    partial = sorted(path.name for path in workspace.partial_shards.rglob("*.*"))
    assert partial == [
        "00000.parquet", "00001.parquet",
        "train-00000.tfrecord", "train-00001.tfrecord", "train-00002.tfrecord.part",
    ]  # fmt: skip

    cropped = list[CropResult]()

    def progress(crops: Iterable[CropResult], *_: object, **__: object) -> Iterator[CropResult]:
        for crop in crops:
            cropped.append(crop)
            yield crop

    monkeypatch.setattr("pipelines.prepare.tqdm", progress)
    assert run_stage(main) == 0
    assert len(cropped) <= len(pictures | many) - 2 * per_shard
    assert {path.name: path.read_bytes() for path in workspace.shards.iterdir()} == expected
    assert workspace.report("prepare").read_bytes() == report
    assert list(workspace.partial_shards.iterdir()) == []
