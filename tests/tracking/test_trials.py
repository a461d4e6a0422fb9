"""A search in MLflow: trials are children of its run, and what was found can be found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepfake_detector.tracking.runs import log_findings, note_outcome, start_run, start_search, trial_tags
from deepfake_detector.tracking.store import fetch, open_client


def test_a_trial_is_a_child_of_its_search(road: Any) -> None:
    with start_search("road", "tune-tiny", {"epochs": 2}, {"git_commit": "abc"}) as parent:
        with start_run("road", "tiny-2ep", {"dropout": 0.2}, trial_tags(parent.run_id, 3)) as child:
            child.log_epoch(1, {"epoch": 1, "loss": 0.7, "val_auc": 0.6})
        note_outcome(child.run_id, "given up", 0.6)
    client = open_client()
    (found,) = client.search_runs(["1"], f"tags.`mlflow.parentRunId` = '{parent.run_id}'")
    assert found.info.run_id == child.run_id
    assert (found.data.tags["trial"], found.data.tags["role"]) == ("3", "trial")
    assert found.data.tags["trial_state"] == "given up"
    assert found.data.metrics["best_val_auc"] == 0.6
    assert found.info.status == "FINISHED"
    tags = client.get_run(parent.run_id).data.tags
    assert (tags["role"], tags["git_commit"]) == ("search", "abc")


def test_a_trial_without_a_value_has_no_figure(road: Any) -> None:
    with start_run("road", "tiny", {}, trial_tags("p" * 32, 1)) as child:
        pass
    note_outcome(child.run_id, "failed", None)
    run = open_client().get_run(child.run_id)
    assert (run.data.tags["trial_state"], run.data.metrics) == ("failed", {})


def test_a_search_goes_on_in_its_run_and_its_findings_are_replaced(road: Any, tmp_path: Path) -> None:
    picture = tmp_path / "importance.png"
    with start_search("road", "tune", {"epochs": 2}, {}) as first:
        picture.write_bytes(b"one")
        log_findings(first.run_id, {"best_val_auc": 0.6}, [picture])
    with start_search("road", "tune", {"epochs": 2}, {}, first.run_id) as second:
        picture.write_bytes(b"two")
        log_findings(second.run_id, {"best_val_auc": 0.7}, [picture])
    assert second.run_id == first.run_id
    run = open_client().get_run(first.run_id)
    assert run.data.metrics == {"best_val_auc": 0.7}
    with fetch(f"{run.info.artifact_uri}/importance.png") as stored:
        assert stored.read_bytes() == b"two"
