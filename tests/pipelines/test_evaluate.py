"""The stage `evaluate`: its report holds what the sealed graph answers, to crops and to whole pictures."""

from __future__ import annotations

import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

from deepfake_detector.config import read_settings
from deepfake_detector.datasets.archive import KAGGLE_ROOT, Archive
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.evaluation import corruption_grid_crops, predictions, random_corruption_crops, simulated_videos
from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.engine import Engine
from deepfake_detector.io import write_json
from deepfake_detector.model.bundle import read_bundle, read_profile, write_bundle
from deepfake_detector.model.export import weights_sha256
from deepfake_detector.model.network import MAP_LAYER, build_network
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.crops import FaceCropper
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.validation import manifest as manifests
from deepfake_detector.validation.manifest import build_manifest, write_manifest
from pipelines.evaluate import main
from pipelines.profile import main as write_profile
from pipelines.stage import run_stage
from tests.pipeline_checkout import area_under_roc

pytestmark = pytest.mark.slow

PARAMS = Path(__file__).parents[2] / "params.yaml"
SIDE_PX = 64
# Pictures per source, split and label; the test split of "mine" has no real ones.
COUNTS = {
    "faces": {("train", "real"): 4, ("train", "fake"): 4, ("valid", "real"): 8, ("valid", "fake"): 8,
              ("test", "real"): 8, ("test", "fake"): 8},
    "mine": {("test", "fake"): 4},
}  # fmt: skip
SOURCES = [
    {"name": "faces", "kind": "sample", "fake_kind": "synthetic", "terms": "drawn by ourselves"},
    {"name": "mine", "kind": "labelled", "fake_kind": "swap", "location": "mine.zip"},
]


def write_data(workspace: Workspace) -> None:
    """Archives, manifest and shards, as the earlier stages write them, but in this process."""
    workspace.raw.mkdir(parents=True)
    for seed, (source, counts) in enumerate(COUNTS.items()):
        pictures = {
            f"{KAGGLE_ROOT}/{split}/{label}/{i}.jpg": draw_sample(seed, split, label, i)
            for (split, label), count in counts.items()
            for i in range(count)
        }
        write_zip(workspace.raw / f"{source}.zip", pictures.items())
    kinds = {source["name"]: source["fake_kind"] for source in SOURCES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifests, "process_map", map)
        write_manifest(build_manifest(workspace.raw, kinds, 2**30), workspace.manifest)
    cropper = FaceCropper(SIDE_PX, 64, read_settings(PARAMS).prepare.crop_scale)
    with Archive(workspace.raw, 2**30) as archive:
        crops = [cropper(entry, archive.read(entry)) for entry in archive.entries]
    write_shards(crops, workspace.shards, SIDE_PX, 10**7, kinds)


def write_training(workspace: Workspace) -> None:
    """An untrained network that leans to "fake", so that calibration must shift it, and the report of a training."""
    keras.utils.set_random_seed(3)
    workspace.trained.mkdir(parents=True)
    model = build_network("residual", SIDE_PX, 0.0, kinds=2)
    kernel, bias = model.get_layer(MAP_LAYER).get_weights()
    model.get_layer(MAP_LAYER).set_weights([kernel, bias + 1])
    model.save(workspace.trained / "model.keras")
    kinds = {"faces": "sample", "mine": "labelled"}
    trained = {"data_sha256": dict.fromkeys(kinds, "ab" * 32), "source_kinds": kinds,
               "kinds": ["synthetic", "swap"], "params": {"augment": "shift"}}  # fmt: skip
    write_json(workspace.report("train"), trained)
    workspace.figures("train").mkdir(parents=True)
    history = {"epoch": [1, 2], "accuracy": [0.5, 0.6], "val_accuracy": [0.5, 0.6], "val_auc": [0.5, 0.7]}
    pd.DataFrame(history).to_csv(workspace.figures("train") / "history.csv", index=False)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A checkout in which the stage has run once."""
    root = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(Workspace, "enter", lambda self: self)
        patch.setattr(corruption_grid_crops, "process_map", map)  # worker processes take seconds to start
        patch.setattr(random_corruption_crops, "process_map", map)
        patch.setattr(simulated_videos, "process_map", map)
        workspace = Workspace()
        params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
        params["evaluate"] |= {"bootstrap": 100, "grid_images": 6, "explain_images": 4}
        params["download"]["sources"] = SOURCES
        workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
        write_data(workspace)
        write_training(workspace)
        workspace.figures("evaluate").mkdir(parents=True)
        (workspace.figures("evaluate") / "stale.png").write_bytes(b"of an earlier evaluation")
        assert run_stage(main) == 0
    return workspace


@pytest.fixture(scope="module")
def report(workspace: Workspace) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(workspace.report("evaluate").read_text(encoding="utf-8"))
    return content


def test_reported_metrics_are_those_of_the_sealed_graph(workspace: Workspace, report: dict[str, Any]) -> None:
    bundle = read_bundle(workspace.bundle)
    test = Shards.open(workspace.shards).arrays("test")
    engine = Engine(bundle)
    p_fake = engine.p_fake(engine.score(test.crops).logits)
    table = pd.read_csv(workspace.figures("evaluate") / "predictions.csv").set_index("path")
    assert np.allclose(table.loc[test.paths, "p_fake"], p_fake, atol=1e-6)
    assert report["test"]["accuracy"]["value"] == ((p_fake >= 0.5) == test.labels).mean()
    assert report["bundle_sha256"] == bundle.sha256
    assert report["test_digest"] == test.sha256


def test_end_to_end_scores_are_those_of_serving(workspace: Workspace, report: dict[str, Any]) -> None:
    detector = Detector(read_bundle(workspace.bundle))
    scores = pd.read_csv(workspace.figures("evaluate") / "grid_scores.csv")
    clean = scores[scores["condition"] == "clean"].set_index("path")["p_fake"]
    assert len(clean) == report["end_to_end"]["images"] == 20
    with Archive(workspace.raw, 2**30) as archive:
        served = {e.path: detector.predict_image(archive.read(e)).p_fake for e in archive.entries if e.split == "test"}
    assert clean.to_dict() == pytest.approx(served, abs=1e-6)


def test_the_graph_holds_the_offset_and_the_trained_weights(workspace: Workspace, report: dict[str, Any]) -> None:
    """An untrained network scores all crops alike; after calibration its scores lie around one half."""
    bundle = read_bundle(workspace.bundle)
    valid = Shards.open(workspace.shards).arrays("valid")
    logits = Engine(bundle).score(valid.crops).logits
    model = keras.models.load_model(workspace.trained / "model.keras", compile=False)
    raw = np.asarray(model.predict(valid.crops, verbose=0))
    # There are too few fakes of each kind for vector scaling: both kinds get the same offset.
    offset = report["calibration"]["offset_swap"]
    assert report["calibration"]["offset_synthetic"] == offset
    assert (report["calibration"]["weight_swap"], report["calibration"]["weight_synthetic"]) == (1.0, 1.0)
    assert np.allclose(logits - raw, offset, atol=0.1)
    assert abs(offset) > 0.2
    assert bundle.contract.weights_sha256 == weights_sha256(model) == report["weights_sha256"]


def test_the_contract_agrees_with_the_report(workspace: Workspace, report: dict[str, Any]) -> None:
    contract = read_bundle(workspace.bundle).contract
    assert contract.trained_on == "photographs"  # "mine" is not the sample
    assert contract.kinds == ("synthetic", "swap")
    assert contract.crop_scale == read_settings(PARAMS).prepare.crop_scale
    assert (contract.train_images, contract.test_images) == (8, 20)
    assert contract.test_metrics["auc"] == report["test"]["auc"]["value"]
    assert contract.temperature == report["calibration"]["temperature"]
    assert contract.thresholds.clear <= 0.5 <= contract.thresholds.flag <= contract.thresholds.strict


def test_the_contract_has_the_measured_coverage(workspace: Workspace, report: dict[str, Any]) -> None:
    contract = read_bundle(workspace.bundle).contract
    pictures, videos = contract.coverage["image"], contract.coverage["video"]
    assert {name: each.files for name, each in pictures.sources.items()} == {"faces": 16, "mine": 4}
    for name, each in pictures.sources.items():
        assert each.decided == pytest.approx(report["per_source"][name]["coverage"]["value"], abs=1e-4)
    assert pictures.all.files == 20
    assert pictures.all.decided == pytest.approx(report["at_thresholds"]["coverage"]["value"], abs=1e-4)
    assert videos.all.files == report["simulated_videos"]["videos"] == 16  # every validation picture
    assert contract.video.thresholds == contract.thresholds  # too few videos to fit on
    assert contract.video.videos == 0


def test_the_bundle_has_the_profile_of_the_test_pictures(workspace: Workspace) -> None:
    profile = read_profile(read_bundle(workspace.bundle))
    groups = {(group.source, group.kind): group for group in profile.groups}
    assert {name: group.pictures for name, group in groups.items()} == {
        ("faces", ""): 8, ("faces", "synthetic"): 8, ("mine", "swap"): 4,
    }  # fmt: skip
    scores = pd.read_csv(workspace.figures("evaluate") / "grid_scores.csv")
    clean = scores[scores["condition"] == "clean"]
    for (source, kind), group in groups.items():
        rows = clean[clean["path"].str.startswith(f"{source}/") & (clean["label"] == int(bool(kind)))]
        assert group.quantities["p_fake"].quantiles[50] == pytest.approx(rows["p_fake"].median(), rel=1e-4)
        assert group.unscored == rows["p_fake"].isna().sum()


def test_the_command_writes_the_same_profile_into_a_bundle_without_one(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = read_bundle(workspace.bundle)
    card = (sealed.path / "card.md").read_text(encoding="utf-8")
    plain = write_bundle(tmp_path / "plain", sealed.graph, sealed.contract, sealed.reference, card)
    assert plain.contract.format_version == 3
    monkeypatch.setattr(corruption_grid_crops, "process_map", map)
    monkeypatch.setattr(Workspace, "enter", lambda self: self)
    monkeypatch.setattr("sys.argv", ["profile", str(plain.path), "--data", str(workspace.root)])
    assert run_stage(write_profile) == 0
    assert read_bundle(plain.path).sha256 == sealed.sha256


def test_each_source_has_its_own_metrics(workspace: Workspace, report: dict[str, Any]) -> None:
    per_source = report["per_source"]
    assert {name: metrics["images"] for name, metrics in per_source.items()} == {"faces": 16, "mine": 4}
    table = pd.read_csv(workspace.figures("evaluate") / "predictions.csv")
    correct = (table["p_fake"] >= 0.5) == table["label"]
    for name, metrics in per_source.items():
        assert metrics["accuracy"]["value"] == correct[table["source"] == name].mean()
    assert per_source["faces"]["auc_against"] == ""
    assert per_source["mine"]["auc_against"] == "reals of faces"
    fakes_of_mine = (table["source"] == "mine") | (table["label"] == 0)
    area = area_under_roc(*(table.loc[fakes_of_mine, name].to_numpy() for name in ("label", "p_fake")))
    assert per_source["mine"]["auc"]["value"] == pytest.approx(area)
    assert set(report["grid"]) == {"all", "faces", "mine"}
    assert report["grid"]["all"]["images"] == 6 + 3  # half of each class, and mine has one class


def test_dvc_shows_the_key_metrics(workspace: Workspace, report: dict[str, Any]) -> None:
    shown = json.loads(workspace.report("metrics").read_text(encoding="utf-8"))
    assert shown == {
        **{name: report["test"][name]["value"] for name in ("accuracy", "auc", "ece")},
        "robust_accuracy": report["grid"]["all"]["accuracy"]["value"],
        "coverage": report["at_thresholds"]["coverage"]["value"],
        "false_positive_rate": report["at_thresholds"]["false_positive_rate"]["value"],
        **{
            source: {
                name: report["per_source"][source][name]["value"] for name in ("accuracy", "auc", "coverage", *rates)
            }
            for source, rates in (
                ("faces", ("false_positive_rate", "true_positive_rate", "false_negative_rate_at_clear")),
                ("mine", ("true_positive_rate", "false_negative_rate_at_clear")),
            )
        },
    }


def test_the_report_stays_short(workspace: Workspace, report: dict[str, Any]) -> None:
    assert set(report) == {
        "at_thresholds", "at_thresholds_corrupted", "bundle_sha256", "calibration", "corrupted", "end_to_end",
        "faithfulness", "grid", "kinds_of_flagged_fakes", "per_source", "probes", "quick", "simulated_videos",
        "targets", "test", "test_digest", "valid", "weights_sha256",
    }  # fmt: skip
    assert workspace.report("evaluate").stat().st_size < 16_000
    assert report["calibration"]["on"] == "clean"  # as it was trained
    assert report["probes"]["count"] > report["probes"]["failed"] >= 0
    assert report["faithfulness"]["crops"] == 4


def test_the_card_holds_metrics_and_terms(workspace: Workspace, report: dict[str, Any]) -> None:
    card = (workspace.bundle / "card.md").read_text(encoding="utf-8")
    assert f"{report['test']['auc']['value']:.4f}" in card
    assert "| `mine` (small sample) | 0, 4 |" in card
    assert "`mine`: against reals of faces" in card
    assert "No source was left out" in card
    assert "`faces`: drawn by ourselves" in card


def test_figures_tables_and_the_page_are_written_and_old_files_removed(
    workspace: Workspace, report: dict[str, Any]
) -> None:
    folder = workspace.figures("evaluate")
    figures = {"confusion_matrix", "roc", "calibration", "scores", "coverage", "history", "robustness", "faithfulness",
               "confident_correct", "confident_wrong"}  # fmt: skip
    assert {file.stem for file in folder.glob("*.png")} == figures
    assert all((folder / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in figures)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == len(figures)
    assert report["bundle_sha256"] in page
    confusion = pd.read_csv(folder / "confusion.csv")
    false_positives = (confusion["actual"] == "real") & (confusion["predicted"] == "fake")
    assert false_positives.sum() == report["test"]["confusion"]["false_positives"]
    grid = pd.read_csv(folder / "robustness.csv")
    assert "JPEG 90" not in set(grid["condition"])  # used by a probe, not part of the grid
    assert len(grid[grid["source"] == "all"]) == 27


@pytest.mark.parametrize(
    ("kinds", "trained_on"),
    [({"faces": "sample"}, "drawn sample"), ({"sample": "archive"}, "photographs"),
     ({"faces": "sample", "more": "kaggle"}, "photographs")],
)  # fmt: skip
def test_a_model_is_trained_on_drawings_if_all_sources_are_the_sample(kinds: dict[str, str], trained_on: str) -> None:
    assert predictions._trained_on(kinds) == trained_on


@pytest.mark.parametrize(
    ("setting", "augment", "on"),
    [("as_trained", "corruptions", "corruptions"), ("as_trained", "shift", "clean"), ("clean", "corruptions", "clean"),
     ("corruptions", "none", "corruptions")],
)  # fmt: skip
def test_calibration_follows_the_training_unless_set(setting: str, augment: str, on: str) -> None:
    assert predictions._calibrated_on(setting, augment) == on
