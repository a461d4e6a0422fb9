"""The command `generalize`: every family is left out once, scored on its validation crops, and never trained twice."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from deepfake_detector.config import Settings, read_settings
from deepfake_detector.datasets.archive import Entry
from deepfake_detector.errors import DataRejected
from deepfake_detector.io import write_json
from deepfake_detector.model import network
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.crops import CropResult
from deepfake_detector.preparation.shard_writer import write_shards
from deepfake_detector.preparation.shards import HeldOutSplit, Shards
from deepfake_detector.stats import auc
from deepfake_detector.tracking.store import open_client
from deepfake_detector.training import generalization, plan
from deepfake_detector.training.generalization import Fold, find_folds, measure_fold, steps_within, without
from pipelines import generalize as command
from pipelines.stage import run_stage

SIDE_PX = 32
LANDMARKS_PX = np.array([(10, 12), (22, 12), (16, 17), (11, 22), (21, 22)], np.float32)
# Source -> labels, family, use.
SOURCES = {
    "faces": ((0, 1), "", "train"),
    "swaps": ((0, 1), "dfdc", "train"),
    "more_swaps": ((0, 1), "dfdc", "train"),
    "studio": ((1,), "", "train"),
    "celeba": ((0,), "", "train"),
    "portraits": ((1,), "", "test"),
}
FAMILIES = ["celeba", "dfdc", "faces", "studio"]


def make_crops() -> list[CropResult]:
    """Noise; fakes have a faint checkerboard."""
    rng = np.random.default_rng(0)
    pattern = (np.indices((SIDE_PX, SIDE_PX)).sum(axis=0) % 2 * 40)[..., None]
    return [
        CropResult(
            Entry(f"{source}/{split}/{label}/{i}.jpg", split, label, "", source),
            (rng.integers(60, 200, (SIDE_PX, SIDE_PX, 3)) + pattern * label).astype(np.uint8),
            landmarks_px=LANDMARKS_PX,
        )
        for split, count in (("train", 8), ("valid", 6), ("test", 4))
        for source, (labels, _, use) in SOURCES.items()
        for label in labels
        for i in range(count)
        if use == "train" or split == "test"
    ]


@pytest.fixture
def workspace(make_workspace: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(network, "CHANNELS", ((8,), (8,)))
    workspace = make_workspace({"train": 8, "valid": 8}, {"epochs": 1, "warmup_epochs": 0})
    params = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
    params["download"]["sources"] = [
        {"name": name, "kind": "labelled", "location": "x.zip", "fake_kind": "synthetic", "family": family, "use": use}
        for name, (_, family, use) in SOURCES.items()
    ]
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    write_shards(make_crops(), workspace.shards, SIDE_PX, 10**6, dict.fromkeys(SOURCES, "synthetic"))
    downloaded = [{"name": n, "kind": "labelled", "sha256": n, "use": use} for n, (_, _, use) in SOURCES.items()]
    write_json(workspace.report("download"), {"sources": downloaded})
    return workspace


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["uniform", "balanced"])
def test_every_family_is_left_out_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sampling: str
) -> None:
    params = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
    params["train"] |= {"sampling": sampling}
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["generalize", "--epochs", "2"])
    assert run_stage(command.main) == 0, capsys.readouterr().err
    folder = workspace.figures("generalize")
    table = pd.read_csv(folder / "results.csv")
    assert list(table["family"]) == FAMILIES
    assert list(table["reals"]) == [6, 12, 6, 0]
    assert list(table["fakes"]) == [0, 12, 6, 6]
    assert table[["auc_clean", "auc_corrupted", "trained_auc"]].notna().all(axis=None)
    assert table["false_positive_rate"].isna().tolist() == [False, False, False, True]
    page = (folder / "results.md").read_text(encoding="utf-8")
    assert "| dfdc (more_swaps, swaps) | 12, 12 |" in page
    assert "2 epochs" in page
    assert (folder / "generalize.png").read_bytes().startswith(b"\x89PNG")
    client = open_client()
    experiment = client.get_experiment_by_name("deepfake-detector-generalize")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.data.tags["left_out_family"] for run in runs) == FAMILIES
    assert all("left_out/auc_clean" in run.data.metrics for run in runs)
    assert "data_sha256:celeba" in runs[0].data.tags

    monkeypatch.setattr(plan, "train", None)  # a second call trains nothing
    assert run_stage(command.main) == 0
    assert pd.read_csv(folder / "results.csv").equals(table)


def settings_of(workspace: Workspace) -> Settings:
    return read_settings(workspace.params)


def test_crops_of_the_family_are_not_trained_or_validated_on(workspace: Workspace) -> None:
    settings, shards = settings_of(workspace), Shards.open(workspace.shards)
    fold = Fold("dfdc", ("more_swaps", "swaps"))
    left = without(settings, fold)
    assert set(left.download.weights) == {"faces", "studio", "celeba"}  # of which balanced batches are made
    kept = generalization._trained_sources(shards, tuple(sorted(left.download.families)))
    for split in ("train", "valid"):
        sources = kept.arrays(split).sources
        assert set(sources) == {"faces", "studio", "celeba"}
        assert len(sources) == kept.crops[split]
    assert left.register.experiment == "deepfake-detector-generalize"
    assert settings.download.left_out == {"portraits"}


def test_only_families_without_which_both_classes_remain_are_left_out(workspace: Workspace) -> None:
    settings, shards = settings_of(workspace), Shards.open(workspace.shards)
    assert [fold.family for fold in find_folds(settings, shards)] == FAMILIES
    one = without(without(settings, Fold("dfdc", ("more_swaps", "swaps"))), Fold("celeba", ("celeba",)))
    assert [fold.family for fold in find_folds(one, shards)] == ["studio"]  # without faces there are no reals
    with pytest.raises(DataRejected, match="no family of sources can be left out of faces"):
        find_folds(without(one, Fold("studio", ("studio",))), shards)


def test_a_family_of_one_class_is_compared_with_the_others(workspace: Workspace) -> None:
    valid = Shards.open(workspace.shards).arrays("valid")
    rng = np.random.default_rng(1)
    scores = {view: valid.labels + rng.normal(0, 0.7, len(valid.labels)) for view in generalization.VIEWS}
    fold = Fold("studio", ("studio",))
    found = measure_fold(fold, without(settings_of(workspace), fold), scores, valid)
    names = np.array(valid.sources)
    rows = (names == "studio") | (valid.labels == 0)
    assert found.auc["clean"] is not None
    assert found.auc["clean"].value == pytest.approx(auc(scores["clean"][rows], valid.labels[rows]))
    assert found.false_positive_rate is None
    assert found.true_positive_rate is not None
    threshold = np.quantile(scores["clean"][valid.labels == 0], 0.99)
    assert found.true_positive_rate.value == (scores["clean"][names == "studio"] > threshold).mean()
    assert found.trained_auc is not None
    others = names != "studio"
    assert found.trained_auc.value == pytest.approx(auc(scores["clean"][others], valid.labels[others]))
    assert set(found.metrics()) == {
        "left_out/auc_clean", "left_out/auc_corrupted", "left_out/true_positive_rate", "trained/auc",
    }  # fmt: skip


def test_crops_of_test_sources_count_nowhere(workspace: Workspace) -> None:
    valid = Shards.open(workspace.shards).arrays("valid")
    extra = HeldOutSplit(
        np.concatenate([valid.crops, valid.crops[:1]]), np.append(valid.labels, 1), [*valid.paths, "portraits/x"],
        [*valid.sources, "portraits"], np.concatenate([valid.landmarks_px, valid.landmarks_px[:1]]),
        [*valid.kinds, "synthetic"],
    )  # fmt: skip
    scores = {view: np.arange(len(extra.labels), dtype=np.float64) for view in generalization.VIEWS}
    fewer = {view: values[:-1] for view, values in scores.items()}
    fold = Fold("celeba", ("celeba",))
    settings = without(settings_of(workspace), fold)
    assert measure_fold(fold, settings, scores, extra) == measure_fold(fold, settings, fewer, valid)


def test_a_budget_in_minutes_becomes_steps() -> None:
    # 0.5 s a step and 3 s of validation: epochs of 10 and 40 steps take 8 and 23 s.
    assert steps_within(600, 4, [8.0, 23.0]) == (600 / 4 - 3) / 0.5
    assert steps_within(1, 4, [8.0, 23.0]) == 1


@pytest.mark.slow
def test_minutes_are_measured_once_and_kept(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generalization, "PILOT_STEPS", (1, 3))
    settings, shards = settings_of(workspace), Shards.open(workspace.shards)
    first = generalization.with_minutes(workspace, settings, shards, 0.05)
    assert first.train.sampling == "balanced"
    assert first.train.steps_per_epoch >= 1
    monkeypatch.setattr(plan, "train", None)
    assert generalization.with_minutes(workspace, settings, shards, 0.05) == first


def test_settings_are_checked_before_anything_is_trained(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["generalize", "--epochs", "2", "--minutes", "3"])
    with pytest.raises(SystemExit):
        run_stage(command.main)
    assert "not allowed with" in capsys.readouterr().err
    assert Path(workspace.generalization).exists() is False
