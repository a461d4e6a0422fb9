"""The stage `evaluate`: what it says is what the sealed graph answers."""

import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

from deepfake_detector.data.archives import Entry
from deepfake_detector.data.crops import Crop
from deepfake_detector.data.shards import Shards, write_shards
from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.model.network import build_network
from deepfake_detector.scoring.engine import Engine
from deepfake_detector.workspace import Workspace
from pipelines import judgement
from pipelines.evaluate import main
from pipelines.stage import run_stage, write_report

PARAMS = Path(__file__).parents[2] / "params.yaml"
SIDE = 32
SOURCES = ("drawn", "drawn", "drawn", "mine")  # of every four pictures; i % 4 == 3 is a fake, so "mine" has no real one


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    root = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(Workspace, "enter", lambda self: self)
        workspace = Workspace()
        params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
        params["evaluate"]["bootstrap"] = 100
        workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
        rng = np.random.default_rng(0)
        crops = []
        for split in ("train", "valid", "test"):
            for i in range(40):  # fakes are noisier: an untrained network's scores differ by class, either way
                pixels = rng.normal(128, 10 + 40 * (i % 2), (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
                crops.append(Crop(Entry(f"{split}/{i}.jpg", split, i % 2, "", SOURCES[i % 4]), pixels, ""))
        write_shards(crops, workspace.shards, SIDE, 10**6)
        keras.utils.set_random_seed(3)
        workspace.trained.mkdir(parents=True)
        build_network("residual", SIDE, 0.0).save(workspace.trained / "model.keras")
        kinds = {"drawn": "sample", "mine": "labelled"}
        digests = dict.fromkeys(kinds, "ab" * 32)
        trained = {"data_sha256": digests, "source_kinds": kinds, "run_id": "r1"}
        write_report(workspace.report("train"), trained)
        workspace.figures("train").mkdir(parents=True)
        history = {"epoch": [1, 2], "accuracy": [0.5, 0.6], "val_accuracy": [0.5, 0.6], "val_auc": [0.5, 0.7]}
        pd.DataFrame(history).to_csv(workspace.figures("train") / "history.csv", index=False)
        assert run_stage(main) == 0
    return workspace


def report(workspace: Workspace) -> dict:
    return json.loads(workspace.report("evaluate").read_text(encoding="utf-8"))


def test_reported_figures_are_those_of_the_sealed_graph(workspace) -> None:
    bundle = read_bundle(workspace.bundle)
    crops, labels, paths, _ = Shards.open(workspace.shards).arrays("test")
    engine = Engine(bundle)
    p_fake = engine.p_fake(engine.score(crops).logits)
    predictions = pd.read_csv(workspace.figures("evaluate") / "predictions.csv").set_index("path")
    assert np.allclose(predictions.loc[paths, "p_fake"], p_fake, atol=1e-6)
    assert report(workspace)["test"]["accuracy"]["value"] == ((p_fake >= 0.5) == labels).mean()
    assert report(workspace)["bundle_sha256"] == bundle.sha256


def test_the_contract_says_where_it_comes_from(workspace) -> None:
    contract = read_bundle(workspace.bundle).contract
    assert contract.trained_on == "photographs"  # "mine" is not the sample
    assert contract.run_id == "r1"
    assert (contract.train_images, contract.test_images) == (40, 40)
    assert contract.test_metrics["auc"] == report(workspace)["test"]["auc"]["value"]
    assert contract.weights_sha256 == report(workspace)["weights_sha256"]
    assert contract.thresholds.clear <= 0.5 <= contract.thresholds.flag <= contract.thresholds.strict


def test_each_source_is_measured_by_itself(workspace) -> None:
    per_source = report(workspace)["per_source"]
    assert {name: figures["images"] for name, figures in per_source.items()} == {"drawn": 30, "mine": 10}
    predictions = pd.read_csv(workspace.figures("evaluate") / "predictions.csv")
    mine = predictions["path"].str.extract(r"(\d+)")[0].astype(int) % 4 == 3
    right = (predictions["p_fake"] >= 0.5) == predictions["label"]
    assert per_source["mine"]["accuracy"]["value"] == right[mine].mean()
    assert per_source["drawn"]["accuracy"]["value"] == right[~mine].mean()
    assert "auc" in per_source["drawn"]
    assert "auc" not in per_source["mine"]


def test_the_card_tells_the_figures_of_each_source(workspace) -> None:
    card = (workspace.bundle / "card.md").read_text(encoding="utf-8")
    assert f"{report(workspace)['test']['auc']['value']:.4f}" in card
    assert "| `mine` | 10 |" in card
    assert "one class only" in card


@pytest.mark.parametrize(
    ("kinds", "trained_on"),
    [({"faces": "sample"}, "drawn sample"), ({"sample": "archive"}, "photographs"),
     ({"faces": "sample", "more": "kaggle"}, "photographs")],
)  # fmt: skip
def test_a_model_is_of_drawings_only_if_all_sources_are(kinds: dict, trained_on: str) -> None:
    assert judgement._trained_on(kinds) == trained_on


def test_pictures_and_tables_are_drawn(workspace) -> None:
    folder = workspace.figures("evaluate")
    for name in ("confusion_matrix", "roc", "calibration", "scores", "history"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    confusion = pd.read_csv(folder / "confusion.csv")
    counts = report(workspace)["test"]["confusion"]
    assert ((confusion["truth"] == "real") & (confusion["answer"] == "fake")).sum() == counts["false_fake"]
    assert len(confusion) == 40
