"""The stage `train`: files, report and MLflow run; an interrupted training continues in the same run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

from deepfake_detector.paths import Workspace
from deepfake_detector.tracking.lineage import NOT_GIT
from deepfake_detector.tracking.store import open_client
from deepfake_detector.training.checkpoint import Checkpoint, TrainingState
from pipelines.stage import run_stage
from pipelines.train import main

pytestmark = pytest.mark.slow

MakeWorkspace = Callable[..., Workspace]


@pytest.fixture
def workspace(make_workspace: MakeWorkspace) -> Workspace:
    return make_workspace({"train": 20, "valid": 8, "test": 8}, {"epochs": 2})


def report(workspace: Workspace) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(workspace.report("train").read_text(encoding="utf-8"))
    return content


def change_train_settings(workspace: Workspace, **changed: object) -> None:
    params = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
    params["train"] |= changed
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")


def test_it_writes_model_history_report_and_run(workspace: Workspace) -> None:
    assert run_stage(main) == 0
    found = report(workspace)
    assert found["data_sha256"] == {"faces": "ab" * 32}
    assert found["source_kinds"] == {"faces": "sample"}
    assert keras.models.load_model(workspace.trained / "model.keras").name == found["network"] == "residual"
    assert [path.name for path in workspace.trained.iterdir()] == ["model.keras"]
    history = pd.read_csv(workspace.root / found["history"])
    assert history["epoch"].tolist() == [1, 2]
    run = open_client().get_run(found["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == "2"
    assert run.data.tags["git_commit"] == found["git_commit"] == NOT_GIT
    assert run.data.metrics["val_auc"] == pytest.approx(history["val_auc"].iloc[-1])
    assert not list(workspace.checkpoints.glob("*"))


@pytest.mark.parametrize("network", ["residual", "original"])
def test_cutmix_applies_to_networks_with_a_logit_map(make_workspace: MakeWorkspace, network: str) -> None:
    settings = {"epochs": 1, "cutmix": 0.5, "network": network, "self_blend": 0.5}
    workspace = make_workspace({"train": 16, "valid": 8, "test": 8}, settings)
    assert run_stage(main) == 0
    assert report(workspace)["params"]["cutmix"] == 0.5
    assert np.isfinite(pd.read_csv(workspace.root / report(workspace)["history"])["loss"]).all()


def test_an_interrupted_training_continues_in_the_same_run(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, interrupted = Checkpoint.save, list[bool]()

    def save_and_interrupt(self: Checkpoint, model: keras.Model, state: TrainingState) -> None:
        save(self, model, state)
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", save_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        main()
    assert not workspace.report("train").exists()
    (run,) = open_client().search_runs(["1"])
    assert run_stage(main) == 0
    assert report(workspace)["resumed_at_epoch"] == 1
    assert report(workspace)["run_id"] == run.info.run_id
    assert len(open_client().get_metric_history(run.info.run_id, "train_loss")) == 2


def test_a_training_with_other_settings_is_not_resumed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checkpoint, "clear", lambda self: None)
    assert run_stage(main) == 0
    change_train_settings(workspace, learning_rate=0.01)
    assert run_stage(main) == 0
    assert report(workspace)["resumed_at_epoch"] == 0


def test_fewer_crops_than_one_batch_are_rejected(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    change_train_settings(workspace, batch_size=64)
    assert run_stage(main) == 1
    assert "20 training crops do not fill one batch of 64" in capsys.readouterr().err
