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

from deepfake_detector.io import sha256_of_file
from deepfake_detector.paths import Workspace
from deepfake_detector.tracking.lineage import NOT_GIT
from deepfake_detector.tracking.runs import find_run_of_weights
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


def training_run(workspace: Workspace) -> Any:
    """The MLflow run of the weights that the report names."""
    run = find_run_of_weights(open_client(), report(workspace)["weights_sha256"])
    assert run is not None
    return run


def output_digests(workspace: Workspace) -> dict[str, str]:
    """Path -> SHA-256 of every file that DVC stores as an output of the stage."""
    folders = (workspace.trained, workspace.figures("train"))
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {str(path): sha256_of_file(path) for path in [*files, workspace.report("train")]}


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
    run = training_run(workspace)
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == "2"
    assert run.data.tags["git_commit"] == NOT_GIT
    assert run.data.metrics["train_seconds"] > 0
    assert run.data.metrics["val_auc"] == pytest.approx(history["val_auc"].iloc[-1])
    assert not list(workspace.checkpoints.glob("*"))


def test_a_second_training_of_the_same_gives_the_same_bytes(workspace: Workspace) -> None:
    keras.backend.clear_session()  # as in a new process: Keras numbers the names of operations
    assert run_stage(main) == 0
    first, run = output_digests(workspace), training_run(workspace)
    keras.backend.clear_session()
    assert run_stage(main) == 0
    assert output_digests(workspace) == first
    assert len(first) == 3
    assert training_run(workspace).info.run_id != run.info.run_id


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
    assert training_run(workspace).info.run_id == run.info.run_id
    assert training_run(workspace).data.tags["resumed_at_epoch"] == "1"
    assert len(open_client().get_metric_history(run.info.run_id, "train_loss")) == 2


def test_a_training_with_other_settings_is_not_resumed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checkpoint, "clear", lambda self: None)
    assert run_stage(main) == 0
    change_train_settings(workspace, learning_rate=0.01)
    assert run_stage(main) == 0
    assert "resumed_at_epoch" not in training_run(workspace).data.tags


def test_fewer_crops_than_one_batch_are_trained_in_a_smaller_one(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    change_train_settings(workspace, batch_size=64)
    assert run_stage(main) == 0
    assert "batches of 20 crops instead of train.batch_size 64" in capsys.readouterr().out
    assert training_run(workspace).data.params["batch_size"] == "64"
