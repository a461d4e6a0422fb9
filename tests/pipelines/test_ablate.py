"""The command `ablate`: every step is trained once and scored on the same test crops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deepfake_detector.config import Train, read_settings
from deepfake_detector.model import network
from deepfake_detector.paths import Workspace
from deepfake_detector.tracking.store import open_client
from deepfake_detector.training import ablation, plan
from pipelines import ablate as command
from pipelines.stage import run_stage

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def workspace(make_workspace: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(network, "CHANNELS", ((8,), (8,)))
    return make_workspace({"train": 16, "valid": 8, "test": 12}, {"epochs": 3, "warmup_epochs": 0})


def test_steps_are_trained_once_and_scored_on_the_same_crops(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ablation, "STEPS", (ablation.STEPS[1], ablation.STEPS[2], ablation.STEPS[-1]))
    monkeypatch.setattr("sys.argv", ["ablate", "--epochs", "1"])
    assert run_stage(command.main) == 0, capsys.readouterr().err
    report = json.loads(workspace.report("ablate").read_text(encoding="utf-8"))
    assert [row["train"]["network"] for row in report["steps"]] == ["plain", "residual", "residual"]
    assert [row["mirrored"] for row in report["steps"]] == [False, False, True]
    assert report["epochs"] == 1
    for view in ablation.VIEWS:
        first, *others = (row["auc"][view][""] for row in report["steps"])
        assert first["gain"] is None
        assert first["images"] == 12
        for before, figure in zip([first, *others], others, strict=False):
            assert figure["gain"]["value"] == pytest.approx(figure["value"] - before["value"])
    runs = open_client().search_runs(["1"])
    assert len(runs) == 2  # the mirrored step uses the network of the step before
    page = (workspace.root / "docs" / "ablations.md").read_text(encoding="utf-8")
    assert page.count(ablation.STEPS[1].name) == 2

    monkeypatch.setattr(plan, "train", None)  # a second call trains nothing
    assert run_stage(command.main) == 0
    assert json.loads(workspace.report("ablate").read_text(encoding="utf-8")) == report


def test_the_steps_add_up_to_the_recipe() -> None:
    known = set(Train.__dataclass_fields__)
    assert all(set(step.adds) <= known for step in ablation.STEPS)
    reached = {key: value for step in ablation.STEPS for key, value in step.adds.items()}
    assert reached == {
        "network": "fused",
        "augment": "corruptions",
        "ema_momentum": 0.998,
        "self_blend": 0.25,
        "cutmix": 0.25,
        "sampling": "balanced",
        "start_from": "",
        "frozen_blocks": 8,
    }
    baseline = set(ablation.STEPS[0].adds)
    assert all(
        set(step.adds) <= baseline for step in ablation.STEPS
    )  # no step keeps a value of params.yaml by accident
    assert ablation.STEPS[-2].mirrored == read_settings(PARAMS).evaluate.mirrored
    assert ablation.STEPS[-1] == ablation.AblationStep(ablation.STEPS[-1].name, {}, mirrored=True)
