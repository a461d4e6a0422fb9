"""A source with `use: test` is reported, and changes neither weights nor calibration nor thresholds."""

from __future__ import annotations

import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

from deepfake_detector.config import read_settings
from deepfake_detector.datasets.archive import KAGGLE_ROOT
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.evaluation import corruption_grid_crops, random_corruption_crops, simulated_videos
from deepfake_detector.io import write_json
from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation import crops
from deepfake_detector.validation import manifest as manifests
from deepfake_detector.validation.manifest import build_manifest, write_manifest
from pipelines import evaluate, prepare, train
from pipelines.stage import run_stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PARAMS = Path(__file__).parents[2] / "params.yaml"
SOURCES = [
    {"name": "faces", "kind": "sample", "fake_kind": "synthetic"},
    {"name": "portraits", "kind": "labelled", "fake_kind": "swap", "location": "portraits.zip", "use": "test"},
]
FACES = {("train", 12), ("valid", 10), ("test", 8)}  # pictures of each class


def pictures(seed: int, split: str, label: str, count: int) -> dict[str, bytes]:
    return {f"{KAGGLE_ROOT}/{split}/{label}/{seed}-{i}.jpg": draw_sample(seed, split, label, i) for i in range(count)}


def write_data(workspace: Workspace, portraits: dict[str, bytes]) -> None:
    """Archives, manifest and the report of `download`, as the earlier stages write them, but in this process."""
    workspace.raw.mkdir(parents=True)
    faces = {
        path: data
        for split, count in sorted(FACES)
        for label in ("real", "fake")
        for path, data in pictures(1, split, label, count).items()
    }
    write_zip(workspace.raw / "faces.zip", faces.items())
    write_zip(workspace.raw / "portraits.zip", portraits.items())
    settings = read_settings(workspace.params).download
    write_manifest(build_manifest(workspace.raw, settings.fake_kinds, left_out=settings.left_out), workspace.manifest)
    downloaded = [
        {"name": "faces", "kind": "sample", "sha256": "ab" * 32, "use": "train"},
        {"name": "portraits", "kind": "labelled", "sha256": str(len(portraits)), "use": "test"},
    ]
    write_json(workspace.report("download"), {"sources": downloaded})


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Callable[..., Workspace]]:
    """Pictures of the left-out source -> a workspace in which prepare, train and evaluate have run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workspace, "enter", lambda self: self)
        for module in (crops, manifests, corruption_grid_crops, random_corruption_crops, simulated_videos):
            patch.setattr(module, "process_map", map)  # worker processes take seconds to start

        def run(portraits: dict[str, bytes]) -> Workspace:
            root = tmp_path_factory.mktemp("left_out")
            patch.chdir(root)
            shutil.copyfile(empty_store, root / "mlflow.db")
            patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")
            workspace = Workspace()
            params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
            params["download"]["sources"] = SOURCES
            params["prepare"] |= {"side_px": 64}
            params["train"] |= {"epochs": 1, "batch_size": 8, "precision": "float32", "warmup_epochs": 0}
            params["evaluate"] |= {"bootstrap": 100, "grid_images": 2, "explain_images": 2, "simulated_videos": 8}
            workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
            shutil.copyfile(PARAMS.with_name("drop.txt"), root / "drop.txt")
            write_data(workspace, portraits)
            for stage in (prepare, train, evaluate):
                assert run_stage(stage.main) == 0, stage.__name__
            return workspace

        yield run
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def workspaces(walk: Callable[..., Workspace]) -> tuple[Workspace, Workspace]:
    """The same trained source; the left-out one has other pictures, other numbers of them and other splits."""
    few = pictures(2, "test", "fake", 6)
    many = pictures(3, "train", "fake", 9) | pictures(4, "valid", "fake", 5) | pictures(5, "train", "real", 7)
    return walk(few), walk(many)


def report(workspace: Workspace, stage: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(workspace.report(stage).read_text(encoding="utf-8"))
    return content


def test_crops_to_train_and_validate_on_are_the_same(workspaces: tuple[Workspace, Workspace]) -> None:
    few, many = workspaces
    for split in ("train", "valid"):
        (a,), (b,) = (sorted(each.shards.glob(f"{split}-*")) for each in (few, many))
        assert a.read_bytes() == b.read_bytes()
    assert report(many, "prepare")["crops"]["test"] == 16 + 21


def test_weights_calibration_and_thresholds_are_the_same(workspaces: tuple[Workspace, Workspace]) -> None:
    few, many = workspaces
    assert report(few, "train")["weights_sha256"] == report(many, "train")["weights_sha256"]
    assert (few.figures("train") / "history.csv").read_text() == (many.figures("train") / "history.csv").read_text()
    a, b = (read_bundle(each.bundle) for each in workspaces)
    with np.load(a.reference) as first, np.load(b.reference) as second:  # the graph's answers to the same crops
        assert set(first.files) == set(second.files) == {"crops", "logits", "logit_map", "kinds"}
        assert all(np.array_equal(first[name], second[name]) for name in first.files)
    assert a.contract.weights_sha256 == b.contract.weights_sha256
    assert a.contract.thresholds == b.contract.thresholds
    assert a.contract.temperature == b.contract.temperature
    assert a.contract.video == b.contract.video
    assert a.contract.data_sha256 == b.contract.data_sha256 == {"faces": "ab" * 32}
    assert a.contract.trained_on == "drawn sample"  # the other source is not trained on


def test_figures_of_the_trained_source_are_the_same(workspaces: tuple[Workspace, Workspace]) -> None:
    few, many = (report(each, "evaluate") for each in workspaces)
    for section in ("test", "valid", "corrupted", "at_thresholds", "end_to_end", "calibration"):
        assert few[section] == many[section], section
    assert few["grid"]["all"] == many["grid"]["all"]
    assert few["per_source"]["faces"] == many["per_source"]["faces"]
    assert few["test_digest"] != many["test_digest"]


def test_the_left_out_source_is_reported(workspaces: tuple[Workspace, Workspace]) -> None:
    few, many = (report(each, "evaluate") for each in workspaces)
    assert (few["per_source"]["portraits"]["reals"], few["per_source"]["portraits"]["fakes"]) == (0, 6)
    assert few["per_source"]["portraits"]["auc_against"] == "reals of faces"
    assert few["left_out"]["auc"]["value"] == pytest.approx(few["per_source"]["portraits"]["auc"]["value"])
    assert "false_positive_rate" not in few["left_out"]
    assert (many["per_source"]["portraits"]["reals"], many["per_source"]["portraits"]["fakes"]) == (7, 14)
    assert many["left_out"]["false_positive_rate"] == many["per_source"]["portraits"]["false_positive_rate"]
    metrics = report(workspaces[1], "metrics")
    assert metrics["left_out"] == {
        name: many["left_out"][name]["value"]
        for name in ("auc", "false_positive_rate", "coverage", "false_negative_rate_at_clear")
    }
    table = pd.read_csv(workspaces[1].figures("evaluate") / "predictions.csv")
    assert table.groupby("use").size().to_dict() == {"train": 16, "test": 21}
    card = (workspaces[1].bundle / "card.md").read_text(encoding="utf-8")
    assert "| `portraits` (not trained on, small sample) | 7, 14 |" in card
    assert "| not trained on | 21 pictures |" in card
