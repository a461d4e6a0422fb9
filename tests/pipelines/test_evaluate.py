"""The stage `evaluate`: what it says is what the sealed graph answers, to crops and to whole pictures."""

import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

from deepfake_detector.config import read_settings
from deepfake_detector.datasets.archive import ROOT, Archive, pack
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.evaluation import corruption_evaluation, degraded_crops, predictions
from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.engine import Engine
from deepfake_detector.io import write_json
from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.model.network import MAP_LAYER, build_network
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.crops import Cutter
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.validation import manifest as manifests
from deepfake_detector.validation.manifest import build_manifest, write_manifest
from pipelines.evaluate import main
from pipelines.stage import run_stage

PARAMS = Path(__file__).parents[2] / "params.yaml"
SIDE = 64
# Splits, labels and pictures per source; "mine" has no real one to be tested.
DRAWN = {
    "faces": {("train", "real"): 4, ("train", "fake"): 4, ("valid", "real"): 8, ("valid", "fake"): 8,
              ("test", "real"): 8, ("test", "fake"): 8},
    "mine": {("test", "fake"): 4},
}  # fmt: skip
SOURCES = [
    {"name": "faces", "kind": "sample", "fake_kind": "synthetic", "terms": "drawn by ourselves"},
    {"name": "mine", "kind": "labelled", "fake_kind": "swap", "place": "mine.zip"},
]


def fill(workspace: Workspace) -> None:
    """Archives, manifest and shards, as the stages before leave them; without their worker processes."""
    workspace.raw.mkdir(parents=True)
    for seed, (source, counts) in enumerate(DRAWN.items()):
        pictures = {
            f"{ROOT}/{split}/{label}/{i}.jpg": draw_sample(seed, split, label, i)
            for (split, label), count in counts.items()
            for i in range(count)
        }
        pack(workspace.raw / f"{source}.zip", pictures.items())
    kinds = {source["name"]: source["fake_kind"] for source in SOURCES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifests, "in_order", map)
        write_manifest(build_manifest(workspace.raw, kinds, 2**30), workspace.manifest)
    cutter = Cutter(SIDE, 64, read_settings(PARAMS).prepare.crop_scale)
    with Archive(workspace.raw, 2**30) as archive:
        crops = [cutter(entry, archive.read(entry)) for entry in archive.entries]
    write_shards(crops, workspace.shards, SIDE, 10**7, kinds)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    root = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(Workspace, "enter", lambda self: self)
        patch.setattr(corruption_evaluation, "in_order", map)
        patch.setattr(degraded_crops, "in_order", map)
        workspace = Workspace()
        params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
        params["evaluate"] |= {"bootstrap": 100, "grid_images": 6, "explain_images": 4}
        params["download"]["sources"] = SOURCES
        workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
        fill(workspace)
        keras.utils.set_random_seed(3)
        workspace.trained.mkdir(parents=True)
        model = build_network("residual", SIDE, 0.0, kinds=2)
        kernel, bias = model.get_layer(MAP_LAYER).get_weights()
        model.get_layer(MAP_LAYER).set_weights([kernel, bias + 1])  # leans to "fake", so that calibration must move it
        model.save(workspace.trained / "model.keras")
        kinds = {"faces": "sample", "mine": "labelled"}
        trained = {"data_sha256": dict.fromkeys(kinds, "ab" * 32), "source_kinds": kinds, "run_id": "r1",
                   "kinds": ["synthetic", "swap"], "params": {"augment": "shift"}}  # fmt: skip
        write_json(workspace.report("train"), trained)
        workspace.figures("train").mkdir(parents=True)
        history = {"epoch": [1, 2], "accuracy": [0.5, 0.6], "val_accuracy": [0.5, 0.6], "val_auc": [0.5, 0.7]}
        pd.DataFrame(history).to_csv(workspace.figures("train") / "history.csv", index=False)
        workspace.figures("evaluate").mkdir(parents=True)
        (workspace.figures("evaluate") / "stale.png").write_bytes(b"of an earlier evaluation")
        assert run_stage(main) == 0
    return workspace


@pytest.fixture(scope="module")
def report(workspace) -> dict:
    return json.loads(workspace.report("evaluate").read_text(encoding="utf-8"))


def test_reported_figures_are_those_of_the_sealed_graph(workspace, report) -> None:
    bundle = read_bundle(workspace.bundle)
    test = Shards.open(workspace.shards).arrays("test")
    engine = Engine(bundle)
    p_fake = engine.p_fake(engine.score(test.crops).logits)
    predictions = pd.read_csv(workspace.figures("evaluate") / "predictions.csv").set_index("path")
    assert np.allclose(predictions.loc[test.paths, "p_fake"], p_fake, atol=1e-6)
    assert report["test"]["accuracy"]["value"] == ((p_fake >= 0.5) == test.labels).mean()
    assert report["bundle_sha256"] == bundle.sha256
    assert report["test_digest"] == test.sha256


def test_whole_pictures_are_judged_as_serving_judges_them(workspace, report) -> None:
    detector = Detector(read_bundle(workspace.bundle))
    degraded = pd.read_csv(workspace.figures("evaluate") / "degraded.csv")
    clean = degraded[degraded["condition"] == "clean"].set_index("path")["p_fake"]
    assert len(clean) == report["served"]["images"] == 20
    with Archive(workspace.raw, 2**30) as archive:
        served = {e.path: detector.image(archive.read(e)).p_fake for e in archive.entries if e.split == "test"}
    assert clean.to_dict() == pytest.approx(served, abs=1e-6)


def test_the_offset_is_part_of_the_graph_and_the_weights_are_the_trained_ones(workspace, report) -> None:
    """An untrained network says about the same of every crop; calibrated, its answers lie around one half."""
    bundle = read_bundle(workspace.bundle)
    valid = Shards.open(workspace.shards).arrays("valid")
    logits = Engine(bundle).score(valid.crops).logits
    model = keras.models.load_model(workspace.trained / "model.keras", compile=False)
    raw = np.asarray(model.predict(valid.crops, verbose=0))
    # Too few fakes of each kind to weigh one against the other: both are moved by the same.
    moved = report["calibration"]["offset_swap"]
    assert report["calibration"]["offset_synthetic"] == moved
    assert (report["calibration"]["weight_swap"], report["calibration"]["weight_synthetic"]) == (1.0, 1.0)
    assert np.allclose(logits - raw, moved, atol=0.1)
    assert abs(moved) > 0.2
    assert bundle.contract.weights_sha256 == predictions.weights_sha256(model) == report["weights_sha256"]


def test_the_contract_says_where_it_comes_from(workspace, report) -> None:
    contract = read_bundle(workspace.bundle).contract
    assert contract.trained_on == "photographs"  # "mine" is not the sample
    assert contract.run_id == "r1"
    assert contract.kinds == ("synthetic", "swap")
    assert contract.crop_scale == read_settings(PARAMS).prepare.crop_scale
    assert (contract.train_images, contract.test_images) == (8, 20)
    assert contract.test_metrics["auc"] == report["test"]["auc"]["value"]
    assert contract.temperature == report["calibration"]["temperature"]
    assert contract.thresholds.clear <= 0.5 <= contract.thresholds.flag <= contract.thresholds.strict


def test_each_source_is_measured_by_itself(workspace, report) -> None:
    per_source = report["per_source"]
    assert {name: figures["images"] for name, figures in per_source.items()} == {"faces": 16, "mine": 4}
    predictions = pd.read_csv(workspace.figures("evaluate") / "predictions.csv")
    right = (predictions["p_fake"] >= 0.5) == predictions["label"]
    for name, figures in per_source.items():
        assert figures["accuracy"]["value"] == right[predictions["source"] == name].mean()
    assert "auc" in per_source["faces"]
    assert "auc" not in per_source["mine"]
    assert set(report["grid"]) == {"all", "faces", "mine"}
    assert report["grid"]["all"]["images"] == 6 + 3  # half of each class, and mine has one class


def test_dvc_shows_the_few_figures_that_matter(workspace, report) -> None:
    shown = json.loads(workspace.report("metrics").read_text(encoding="utf-8"))
    assert shown == {
        **{name: report["test"][name]["value"] for name in ("accuracy", "auc", "ece")},
        "worn": report["grid"]["all"]["accuracy"]["value"],
        "coverage": report["answered"]["coverage"]["value"],
        "false_alarms": report["answered"]["false_alarms"]["value"],
        "faces": {name: report["per_source"]["faces"][name]["value"] for name in ("accuracy", "auc")},
        "mine": {"accuracy": report["per_source"]["mine"]["accuracy"]["value"]},
    }


def test_the_report_stays_short_enough_to_read(workspace, report) -> None:
    assert set(report) == {
        "answered", "answered_sent", "bundle_sha256", "calibration", "explanation", "goals", "grid", "per_source",
        "probes", "sent", "served", "test", "test_digest", "valid", "weights_sha256",
    }  # fmt: skip
    assert workspace.report("evaluate").stat().st_size < 16_000
    assert report["calibration"]["on"] == "clean"  # as it was trained
    assert report["probes"]["asked"] > report["probes"]["alarms"] >= 0
    assert report["explanation"]["crops"] == 4


def test_the_card_tells_figures_and_terms(workspace, report) -> None:
    card = (workspace.bundle / "card.md").read_text(encoding="utf-8")
    assert f"{report['test']['auc']['value']:.4f}" in card
    assert "| source | `mine` (tiny) | 4 |" in card
    assert "one class only" in card
    assert "`faces`: drawn by ourselves" in card


def test_pictures_tables_and_the_page_are_there_and_nothing_stale(workspace, report) -> None:
    folder = workspace.figures("evaluate")
    pictures = {"confusion_matrix", "roc", "calibration", "scores", "history", "robustness", "explanation",
                "answers_right", "answers_wrong"}  # fmt: skip
    assert {file.stem for file in folder.glob("*.png")} == pictures
    assert all((folder / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in pictures)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(pictures)
    assert report["bundle_sha256"] in page
    confusion = pd.read_csv(folder / "confusion.csv")
    counts = report["test"]["confusion"]
    assert ((confusion["truth"] == "real") & (confusion["answer"] == "fake")).sum() == counts["false_fake"]
    grid = pd.read_csv(folder / "robustness.csv")
    assert "JPEG 90" not in set(grid["condition"])  # a probe's, no part of the grid
    assert len(grid[grid["source"] == "all"]) == 25


@pytest.mark.parametrize(
    ("kinds", "trained_on"),
    [({"faces": "sample"}, "drawn sample"), ({"sample": "archive"}, "photographs"),
     ({"faces": "sample", "more": "kaggle"}, "photographs")],
)  # fmt: skip
def test_a_model_is_of_drawings_only_if_all_sources_are(kinds: dict, trained_on: str) -> None:
    assert predictions._trained_on(kinds) == trained_on


@pytest.mark.parametrize(
    ("wish", "augment", "on"),
    [("as_trained", "traffic", "traffic"), ("as_trained", "shift", "clean"), ("clean", "traffic", "clean"),
     ("traffic", "none", "traffic")],
)  # fmt: skip
def test_calibration_follows_the_training_unless_told_otherwise(wish: str, augment: str, on: str) -> None:
    assert predictions._calibrated_on(wish, augment) == on
