"""What a run holds after `record`, whether its training was live, restored by DVC, or lost with the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.registry.record import record
from deepfake_detector.tracking.runs import start_run
from deepfake_detector.tracking.store import fetch, open_client

LINEAGE = {"git_commit": "c" * 40}


def load(path: Path) -> Any:
    from deepfake_detector.model.export import load_trained

    return load_trained(path)


def never(path: Path) -> Any:
    raise AssertionError(f"{path} was loaded, though the store holds the model")


def live(epochs: int = 2) -> str:
    with start_run("road", "tiny-2ep", {"epochs": 2}, LINEAGE | {"git_branch": "then"}) as run:
        for epoch in range(1, epochs + 1):
            run.log_epoch(epoch, {"loss": 0.9 - 0.2 * epoch, "val_auc": 0.3 * epoch + 0.3})
    return run.run_id


@pytest.mark.parametrize("epochs", [2, 1])  # 1: the store stopped answering during the training
def test_a_live_run_is_completed_in_place(road: Any, epochs: int) -> None:
    run_id = live(epochs)
    ended = open_client().get_run(run_id).info.end_time
    candidate = road.candidate(run_id=run_id)
    recorded = record(candidate, "road", LINEAGE, load)
    assert recorded.run_id == run_id
    client = open_client()
    run = client.get_run(run_id)
    assert run.info.run_name == f"tiny 2 epochs on sample {candidate.weights_sha256[:8]}"
    assert (run.info.status, run.info.end_time) == ("FINISHED", ended)  # its duration stays the training's
    assert [metric.step for metric in client.get_metric_history(run_id, "train_loss")] == [1, 2]
    assert run.data.params == {"epochs": "2", "network": "tiny", "parameters": "4"}
    assert run.data.metrics["test_accuracy_low"] == pytest.approx(candidate.metrics["test_accuracy"] - 0.05)
    assert run.data.metrics["train_seconds"] == 1.5
    assert run.data.tags["source"] == "sample"
    assert "restored" not in run.data.tags
    assert "Test accuracy" in run.data.tags["mlflow.note.content"]


def test_files_lie_where_the_record_says(road: Any) -> None:
    road.params()
    candidate = road.candidate(run_id=live())
    recorded = record(candidate, "road", LINEAGE, load)
    with fetch(recorded.bundle_uri) as bundle:
        assert {p.name: p.read_bytes() for p in bundle.iterdir()} == {
            p.name: p.read_bytes() for p in candidate.bundle.path.iterdir()
        }
    with fetch(recorded.predictions_uri) as predictions:
        assert predictions.read_bytes() == candidate.predictions.read_bytes()
    paths = {file.path for file in open_client().list_artifacts(recorded.run_id)}
    assert paths == {"bundle", "card.md", recorded.lineage_path, "predictions", "report.html", "roc.png"}
    (stood,) = open_client().list_artifacts(recorded.run_id, recorded.lineage_path)
    assert stood.path == f"{recorded.lineage_path}/params.yaml"


def test_metrics_are_tied_to_model_and_data(road: Any) -> None:
    candidate = road.candidate(run_id=live())
    recorded = record(candidate, "road", LINEAGE, load)
    client = open_client()
    inputs = client.get_run(recorded.run_id).inputs.dataset_inputs
    digests = {entry.tags[0].value: entry.dataset.digest for entry in inputs}
    assert digests == {"training": "d" * 36, "testing": "t" * 36}
    model = client.get_logged_model(recorded.model_id)
    metric = next(m for m in model.metrics if m.key == "test_auc")
    assert (metric.value, metric.dataset_digest) == (candidate.metrics["test_auc"], "t" * 36)
    of_source = next(m for m in model.metrics if m.key == "source/sample/accuracy")
    assert of_source.dataset_digest == "t" * 36
    assert next(m for m in model.metrics if m.key == "valid_auc").dataset_digest is None
    assert (model.name, str(model.status), model.source_run_id) == ("model", "READY", recorded.run_id)


def test_recording_again_adds_nothing(road: Any) -> None:
    candidate = road.candidate(run_id=live())
    first = record(candidate, "road", LINEAGE, load)
    before = (road.workspace.root / "mlflow.db").read_bytes()
    assert record(candidate, "road", LINEAGE, never) == first
    assert (road.workspace.root / "mlflow.db").read_bytes() == before


def test_a_second_judgement_of_the_same_training_keeps_both_bundles(road: Any) -> None:
    run_id = live()
    first = record(road.candidate(run_id=run_id), "road", LINEAGE, load)
    second = record(road.candidate(run_id=run_id, test="u" * 64, trained_on="photographs"), "road", LINEAGE, never)
    assert first.run_id == second.run_id
    assert first.model_id == second.model_id
    assert first.bundle_uri != second.bundle_uri
    with fetch(first.bundle_uri) as one, fetch(second.bundle_uri) as two:
        assert (one / "contract.json").read_bytes() != (two / "contract.json").read_bytes()


def test_a_training_without_a_run_is_restored_once_with_its_history(road: Any) -> None:
    candidate = road.candidate()  # its run id is unknown here: DVC's run cache brought the training back
    recorded = record(candidate, "road", LINEAGE, load)
    client = open_client()
    run = client.get_run(recorded.run_id)
    assert (run.data.tags["restored"], run.data.tags["restored_from"]) == ("true", candidate.run_id)
    assert run.data.tags["git_commit"] == LINEAGE["git_commit"]
    history = [(m.step, m.value) for m in client.get_metric_history(recorded.run_id, "val_auc")]
    assert history == [(1, 0.6), (2, 0.9)]
    assert run.info.status == "FINISHED"
    assert record(candidate, "road", LINEAGE, never) == recorded


def test_lost_files_are_put_back(road: Any) -> None:
    import shutil

    candidate = road.candidate(run_id=live())
    recorded = record(candidate, "road", LINEAGE, load)
    shutil.rmtree(road.workspace.root / "mlartifacts")
    assert record(candidate, "road", LINEAGE, load) == recorded
    with fetch(f"{recorded.model_uri}/data/model.keras") as model, fetch(f"{recorded.bundle_uri}/SHA256SUMS") as seal:
        assert model.is_file()
        assert seal.is_file()
