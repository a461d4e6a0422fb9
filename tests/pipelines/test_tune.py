"""The command `tune`: trials are trainings, resumable, given up when they lie behind, judged on validation pictures."""

import json
import re
from collections.abc import Callable

import pytest
import yaml

from deepfake_detector.config import read_settings
from deepfake_detector.model import network
from deepfake_detector.paths import Workspace
from deepfake_detector.preparation.shards import Shards
from deepfake_detector.tracking.store import open_client
from deepfake_detector.training import plan, tuning
from deepfake_detector.training.checkpoint import Checkpoint
from pipelines import tune as command
from pipelines.stage import run_stage


@pytest.fixture
def workspace(trainable, monkeypatch) -> Workspace:
    monkeypatch.setattr(network, "CHANNELS", ((8,), (8,), (8,)))
    tune = {"batch_size": [4, 8], "startup_trials": 2, "grace_epochs": 0}
    return trainable({"train": 24, "valid": 12, "test": 4}, {"epochs": 1, "warmup_epochs": 0}, tune)


@pytest.fixture
def tune(workspace, monkeypatch) -> Callable[..., dict]:
    """Call the command; its report."""

    def call(*arguments: str) -> dict:
        monkeypatch.setattr("sys.argv", ["tune", *arguments])
        assert run_stage(command.main) == 0
        return json.loads(workspace.report("tune").read_text(encoding="utf-8"))

    return call


def children(parent: str) -> list:
    runs = open_client().search_runs(["1"], f"tags.`mlflow.parentRunId` = '{parent}'")
    return sorted(runs, key=lambda run: int(run.data.tags["trial"]))


def scripted(monkeypatch: pytest.MonkeyPatch, courses: dict[int, list[float]], die_in: int = 0) -> None:
    """Trials whose validation takes a known course, without any training; one may be killed in its second epoch."""
    seen: list[int] = []

    def train(how, side_px, kinds, batches, steps, valid, checkpoint, on_epoch) -> None:
        seen.append(len(seen) + 1)
        for epoch, value in enumerate(courses[min(len(seen), max(courses))], start=1):
            if len(seen) == die_in and epoch == 2:
                raise KeyboardInterrupt
            on_epoch(epoch, {"epoch": epoch, "loss": 1 - value, "val_auc": value})

    monkeypatch.setattr(plan, "train", train)


def test_two_trials_report_pictures_and_nested_runs(workspace, tune, capsys) -> None:
    report = tune("--trials", "2")
    trials, best = report["trials"], report["best"]
    assert [(t["number"], t["state"], t["epochs"]) for t in trials] == [(1, "finished", 1), (2, "finished", 1)]
    assert best["value"] == max(t["value"] for t in trials)
    present = read_settings(workspace.params).train
    assert trials[0]["params"]["learning_rate"] == present.learning_rate
    assert trials[0]["params"] != trials[1]["params"]
    for name in ("parallel_coordinates", "importance"):
        assert (workspace.figures("tune") / f"{name}.png").exists() == bool(
            name != "importance" or report["importance"]
        )
    runs = children(report["run_id"])
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
    assert "trial 2 finished" in out
    assert best["command"] in out
    assert not list(workspace.checkpoints.glob("*"))


def test_only_the_validation_split_judges(workspace, tune, monkeypatch) -> None:
    for shard in workspace.shards.glob("test-*"):
        shard.unlink()
    asked: list[str] = []
    rows = Shards.rows
    monkeypatch.setattr(Shards, "rows", lambda self, split: asked.append(split) or rows(self, split))
    tune("--trials", "1")
    assert set(asked) == {"train", "valid"}


def test_the_command_it_recommends_gives_those_settings(workspace, tune, monkeypatch) -> None:
    scripted(monkeypatch, {1: [0.5], 2: [0.6], 3: [0.7]})
    best = tune("--trials", "3", "--epochs", "5")["best"]
    changed = dict(re.findall(r"-S train\.(\w+)=(\S+)", best["command"]))
    assert best["command"].startswith("dvc exp run -S train.")
    params = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
    params["train"] |= {key: yaml.safe_load(value) for key, value in changed.items()}
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    how = read_settings(workspace.params).train
    assert {key: getattr(how, key) for key in best["params"]} == best["params"]
    assert how.epochs == 5


def test_small_numbers_are_written_so_that_yaml_takes_them_for_numbers(workspace) -> None:
    said = tuning.command(
        {"weight_decay": 1e-05, "ema_momentum": 0.0, "batch_size": 64}, read_settings(workspace.params)
    )
    assert said == "dvc exp run -S train.batch_size=64 -S train.ema_momentum=0.0 -S train.epochs=1 " \
                   "-S train.weight_decay=0.00001"  # fmt: skip


def test_a_trial_that_lies_behind_is_given_up(workspace, tune, monkeypatch, capsys) -> None:
    scripted(monkeypatch, {1: [0.8, 0.9], 2: [0.7, 0.8], 3: [0.3, 0.4]})
    report = tune("--trials", "3", "--epochs", "2")
    assert [(t["state"], t["epochs"]) for t in report["trials"]] == [("finished", 2), ("finished", 2), ("given up", 1)]
    assert report["best"]["number"] == 1
    runs = children(report["run_id"])
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    assert runs[2].data.tags["trial_state"] == "given up"
    assert "val_loss" not in runs[2].data.metrics
    assert "trial 3 given up: val_auc 0.3000 after 1 epochs; best so far 0.9000, trial 1" in capsys.readouterr().out


def test_called_again_it_goes_on_in_the_same_search(workspace, tune, monkeypatch) -> None:
    scripted(monkeypatch, {1: [0.5], 2: [0.6], 3: [0.7], 4: [0.4]})
    first = tune("--trials", "2")
    more = tune("--trials", "4")
    assert more["run_id"] == first["run_id"]
    assert more["trials"][:2] == first["trials"]
    assert [t["value"] for t in more["trials"]] == [0.5, 0.6, 0.7, 0.4]
    assert len(children(first["run_id"])) == 4
    other = tune("--trials", "1", "--epochs", "2")  # other epochs, other figures: another search
    assert other["run_id"] != first["run_id"]


def test_a_killed_trial_goes_on_where_it_was(workspace, tune, monkeypatch) -> None:
    """By the real training: killed after its first of two epochs, it ends with the same figures, in the same run."""
    whole = tune("--trials", "2", "--epochs", "2")
    for name in ("searches.db", "searches.lock"):
        (workspace.tuning / name).unlink()
    save, saved = Checkpoint.save, []

    def save_and_die(self, model, kept):
        save(self, model, kept)
        saved.append(True)
        if len(saved) == 3:  # the first epoch of the second trial
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", save_and_die)
    monkeypatch.setattr("sys.argv", ["tune", "--trials", "2", "--epochs", "2"])
    with pytest.raises(KeyboardInterrupt):
        command.main()
    resumed = tune("--trials", "2", "--epochs", "2")
    assert len(saved) == 4  # one epoch more, not two
    assert [(t["params"], t["value"]) for t in resumed["trials"]] == [
        (t["params"], t["value"]) for t in whole["trials"]
    ]
    runs = children(resumed["run_id"])
    assert [run.info.run_id for run in runs] == [t["run_id"] for t in resumed["trials"]]
    assert len(open_client().get_metric_history(runs[1].info.run_id, "train_loss")) == 2


def test_trials_that_all_fail_end_it_with_their_reason(workspace, monkeypatch, capsys) -> None:
    params = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
    params["train"]["batch_size"], params["tune"]["batch_size"] = 128, [128]
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["tune", "--trials", "2"])
    assert run_stage(command.main) == 1
    assert "none of 2 trials finished: 24 training crops do not fill one batch of 128" in capsys.readouterr().err
    assert not workspace.report("tune").exists()


@pytest.mark.parametrize("wrong", [[], ["--trials", "0"], ["--trials", "2", "--epochs", "none"]])
def test_wrong_arguments_are_told(wrong: list[str], monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["tune", *wrong])
    with pytest.raises(SystemExit):
        command.main()
    assert "--trials" in capsys.readouterr().err
