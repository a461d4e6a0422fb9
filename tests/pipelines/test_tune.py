"""The command `tune`: trials are resumable trainings, pruned when they fall behind, compared on validation crops."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import pytest
import yaml

from deepfake_detector.config import read_settings
from deepfake_detector.errors import SettingsError
from deepfake_detector.model import network
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.tracking.store import open_client
from deepfake_detector.training import plan, tuning
from deepfake_detector.training.checkpoint import Checkpoint, TrainingState
from pipelines import tune as command
from pipelines.stage import run_stage

pytestmark = pytest.mark.slow

Tune = Callable[..., dict[str, Any]]


@pytest.fixture
def workspace(make_workspace: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(network, "CHANNELS", ((8,), (8,), (8,)))
    tune = {"batch_size": [4, 8], "startup_trials": 2, "grace_epochs": 0}
    return make_workspace({"train": 24, "valid": 12, "test": 4}, {"epochs": 1, "warmup_epochs": 0}, tune)


@pytest.fixture
def tune(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Tune:
    """Command-line arguments -> the report of a call."""

    def call(*arguments: str) -> dict[str, Any]:
        monkeypatch.setattr("sys.argv", ["tune", *arguments])
        assert run_stage(command.main) == 0
        report: dict[str, Any] = json.loads(workspace.report("tune").read_text(encoding="utf-8"))
        return report

    return call


def child_runs(parent: str) -> list[Any]:
    runs = open_client().search_runs(["1"], f"tags.`mlflow.parentRunId` = '{parent}'")
    return sorted(runs, key=lambda run: int(run.data.tags["trial"]))


def script_trials(monkeypatch: pytest.MonkeyPatch, aucs: Mapping[int, Sequence[float]]) -> None:
    """Replace the training: trial n reports the validation AUCs of `aucs[n]`, later ones those of the last."""
    started: list[int] = []

    def train(*arguments: Any) -> None:
        on_epoch = arguments[7]
        started.append(len(started) + 1)
        for epoch, value in enumerate(aucs[min(len(started), max(aucs))], start=1):
            on_epoch(epoch, {"epoch": epoch, "loss": 1 - value, "val_auc": value})

    monkeypatch.setattr(plan, "train", train)


def test_two_trials_write_report_figures_and_nested_runs(
    workspace: Workspace, tune: Tune, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tune("--trials", "2")
    trials, best = report["trials"], report["best"]
    assert [(t["number"], t["state"], t["epochs"]) for t in trials] == [(1, "complete", 1), (2, "complete", 1)]
    assert best["value"] == max(t["value"] for t in trials)
    current = read_settings(workspace.params).train
    assert trials[0]["params"]["learning_rate"] == current.learning_rate
    assert trials[0]["params"] != trials[1]["params"]
    for name in ("parallel_coordinates", "importance"):
        assert (workspace.figures("tune") / f"{name}.png").exists() == bool(
            name != "importance" or report["importance"]
        )
    runs = child_runs(report["run_id"])
    assert [run.info.run_id for run in runs] == [t["run_id"] for t in trials]
    for run, trial in zip(runs, trials, strict=True):
        assert run.info.status == "FINISHED"
        assert float(run.data.params["learning_rate"]) == trial["params"]["learning_rate"]
        assert run.data.metrics["val_auc"] == pytest.approx(trial["value"])
        assert run.data.metrics["best_val_auc"] == pytest.approx(trial["value"])
    client = open_client()
    parent = client.get_run(report["run_id"])
    assert parent.data.metrics["best_val_auc"] == best["value"]
    assert {"parallel_coordinates.png", "tune.json"} <= {f.path for f in client.list_artifacts(report["run_id"])}
    out = capsys.readouterr().out
    assert "trial 2 complete" in out
    assert best["command"] in out
    assert not list(workspace.checkpoints.glob("*"))


def test_the_test_split_is_not_read(workspace: Workspace, tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    for shard in workspace.shards.glob("test-*"):
        shard.unlink()
    splits: list[str] = []
    rows = Shards.rows

    def record_split(self: Shards, split: str) -> Any:
        splits.append(split)
        return rows(self, split)

    monkeypatch.setattr(Shards, "rows", record_split)
    tune("--trials", "1")
    assert set(splits) == {"train", "valid"}


def test_the_recommended_command_sets_the_best_settings(
    workspace: Workspace, tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_trials(monkeypatch, {1: [0.5], 2: [0.6], 3: [0.7]})
    best = tune("--trials", "3", "--epochs", "5")["best"]
    changed = dict(re.findall(r"-S train\.(\w+)=(\S+)", best["command"]))
    assert best["command"].startswith("dvc exp run -S train.")
    params = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
    params["train"] |= {key: yaml.safe_load(value) for key, value in changed.items()}
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    settings = read_settings(workspace.params).train
    assert {key: getattr(settings, key) for key in best["params"]} == best["params"]
    assert settings.epochs == 5


def test_small_numbers_are_written_without_exponent(workspace: Workspace) -> None:
    line = tuning.dvc_command(
        {"weight_decay": 1e-05, "ema_momentum": 0.0, "batch_size": 64}, read_settings(workspace.params)
    )
    assert line == "dvc exp run -S train.batch_size=64 -S train.ema_momentum=0.0 -S train.epochs=1 " \
                   "-S train.weight_decay=0.00001"  # fmt: skip


def test_a_trial_that_falls_behind_is_pruned(
    tune: Tune, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script_trials(monkeypatch, {1: [0.8, 0.9], 2: [0.7, 0.8], 3: [0.3, 0.4]})
    report = tune("--trials", "3", "--epochs", "2")
    assert [(t["state"], t["epochs"]) for t in report["trials"]] == [("complete", 2), ("complete", 2), ("pruned", 1)]
    assert report["best"]["number"] == 1
    runs = child_runs(report["run_id"])
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    assert runs[2].data.tags["trial_state"] == "pruned"
    assert "val_loss" not in runs[2].data.metrics
    assert "trial 3 pruned: val_auc 0.3000 after 1 epochs; best so far 0.9000, trial 1" in capsys.readouterr().out


def test_a_second_call_continues_the_same_search(tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    script_trials(monkeypatch, {1: [0.5], 2: [0.6], 3: [0.7], 4: [0.4]})
    first = tune("--trials", "2")
    more = tune("--trials", "4")
    assert more["run_id"] == first["run_id"]
    assert more["trials"][:2] == first["trials"]
    assert [t["value"] for t in more["trials"]] == [0.5, 0.6, 0.7, 0.4]
    assert len(child_runs(first["run_id"])) == 4
    other = tune("--trials", "1", "--epochs", "2")  # with other epochs values are not comparable: another search
    assert other["run_id"] != first["run_id"]


def test_an_interrupted_trial_is_resumed(workspace: Workspace, tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real training: interrupted after one of two epochs, it ends with the same values in the same run."""
    whole = tune("--trials", "2", "--epochs", "2")
    for name in ("searches.db", "searches.lock"):
        (workspace.tuning / name).unlink()
    save, saved = Checkpoint.save, list[bool]()

    def save_and_interrupt(self: Checkpoint, model: keras.Model, state: TrainingState) -> None:
        save(self, model, state)
        saved.append(True)
        if len(saved) == 3:  # the first epoch of the second trial
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", save_and_interrupt)
    monkeypatch.setattr("sys.argv", ["tune", "--trials", "2", "--epochs", "2"])
    with pytest.raises(KeyboardInterrupt):
        command.main()
    resumed = tune("--trials", "2", "--epochs", "2")
    assert len(saved) == 4  # one epoch more, not two
    assert [(t["params"], t["value"]) for t in resumed["trials"]] == [
        (t["params"], t["value"]) for t in whole["trials"]
    ]
    runs = child_runs(resumed["run_id"])
    assert [run.info.run_id for run in runs] == [t["run_id"] for t in resumed["trials"]]
    assert len(open_client().get_metric_history(runs[1].info.run_id, "train_loss")) == 2


def test_if_all_trials_fail_the_error_names_the_reason(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object) -> None:
        raise SettingsError("the batch does not fit into memory", "set train.batch_size lower")

    monkeypatch.setattr(plan, "train", refuse)
    monkeypatch.setattr("sys.argv", ["tune", "--trials", "2"])
    assert run_stage(command.main) == 1
    error = capsys.readouterr().err
    assert "none of 2 trials is complete" in error
    assert "the batch does not fit into memory" in error
    assert not workspace.report("tune").exists()


@pytest.mark.parametrize("wrong", [[], ["--trials", "0"], ["--trials", "2", "--epochs", "none"]])
def test_wrong_arguments_are_rejected(
    wrong: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tune", *wrong])
    with pytest.raises(SystemExit):
        command.main()
    assert "--trials" in capsys.readouterr().err
