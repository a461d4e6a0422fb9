"""The stage `train`: files, report and MLflow run; a killed one goes on in the same run."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

from deepfake_detector.paths import Workspace
from deepfake_detector.tracking.lineage import NOT_GIT
from deepfake_detector.tracking.store import open_client
from deepfake_detector.training.checkpoint import Checkpoint
from pipelines.stage import run_stage
from pipelines.train import main


@pytest.fixture
def workspace(trainable) -> Workspace:
    return trainable({"train": 20, "valid": 8, "test": 8}, {"epochs": 2})


def report(workspace: Workspace) -> dict:
    return json.loads(workspace.report("train").read_text(encoding="utf-8"))


def test_model_history_report_and_run(workspace) -> None:
    assert run_stage(main) == 0
    found = report(workspace)
    assert found["data_sha256"] == {"faces": "ab" * 32}
    assert found["source_kinds"] == {"faces": "sample"}
    assert keras.models.load_model(workspace.trained / "model.keras").name == found["network"] == "residual"
    history = pd.read_csv(workspace.root / found["history"])
    assert history["epoch"].tolist() == [1, 2]
    run = open_client().get_run(found["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["epochs"] == "2"
    assert run.data.tags["git_commit"] == found["git_commit"] == NOT_GIT
    assert run.data.metrics["val_auc"] == pytest.approx(history["val_auc"].iloc[-1])
    assert not list(workspace.checkpoints.glob("*"))


@pytest.mark.parametrize("network", ["residual", "original"])
def test_pieces_of_other_faces_are_trained_on_where_the_network_has_places(trainable, network: str) -> None:
    how = {"epochs": 1, "patchwork": 0.5, "network": network, "blend": 0.5}
    workspace = trainable({"train": 16, "valid": 8, "test": 8}, how)
    assert run_stage(main) == 0
    assert report(workspace)["params"]["patchwork"] == 0.5
    assert np.isfinite(pd.read_csv(workspace.root / report(workspace)["history"])["loss"]).all()


def test_a_killed_training_goes_on_in_the_same_run(workspace, monkeypatch, capsys) -> None:
    save, killed = Checkpoint.save, []

    def save_and_die(self, model, history):
        save(self, model, history)
        if not killed:
            killed.append(True)
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        main()
    assert not workspace.report("train").exists()
    (run,) = open_client().search_runs(["1"])
    assert run_stage(main) == 0
    assert report(workspace)["resumed_at_epoch"] == 1
    assert report(workspace)["run_id"] == run.info.run_id
    assert len(open_client().get_metric_history(run.info.run_id, "train_loss")) == 2


def test_another_setting_does_not_resume_the_killed_one(workspace, monkeypatch) -> None:
    monkeypatch.setattr(Checkpoint, "clear", lambda self: None)
    assert run_stage(main) == 0
    params = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
    params["train"]["learning_rate"] = 0.01
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    assert run_stage(main) == 0
    assert report(workspace)["resumed_at_epoch"] == 0


def test_too_little_data_is_said_clearly(workspace, capsys) -> None:
    params = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
    params["train"]["batch_size"] = 64
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    assert run_stage(main) == 1
    assert "20 training crops do not fill one batch of 64" in capsys.readouterr().err
