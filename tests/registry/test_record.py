"""Content of a run after `record_candidate`: of a logged training, of one restored by DVC, and of a lost store."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.record import record_candidate
from deepfake_detector.tracking.runs import log_training_result, start_run
from deepfake_detector.tracking.store import fetch_artifact, open_client
from tests.pipeline_checkout import EXPERIMENT, PipelineCheckout, load_keras, weights_of_seed

LINEAGE = {"git_commit": "c" * 40}


def load_nothing(path: Path) -> Any:
    raise AssertionError(f"{path} was loaded, though the store holds the model")


def logged_run(epochs: int = 2) -> str:
    with start_run(EXPERIMENT, "tiny-2ep", {"epochs": 2}, LINEAGE | {"git_branch": "then"}) as run:
        for epoch in range(1, epochs + 1):
            run.log_epoch(epoch, {"loss": 0.9 - 0.2 * epoch, "val_auc": 0.3 * epoch + 0.3})
        log_training_result(run.run_id, weights_of_seed(0), 1.5, 0)
    return run.run_id


def trained_candidate(checkout: PipelineCheckout) -> Candidate:
    logged_run()
    return checkout.candidate()


@pytest.mark.parametrize("epochs", [2, 1])  # 1: the store stopped answering during the training
def test_the_run_of_a_logged_training_is_completed(checkout: PipelineCheckout, epochs: int) -> None:
    run_id = logged_run(epochs)
    ended = open_client().get_run(run_id).info.end_time
    candidate = checkout.candidate()
    recorded = record_candidate(candidate, EXPERIMENT, LINEAGE, load_keras)
    assert recorded.run_id == run_id
    client = open_client()
    run = client.get_run(run_id)
    assert run.info.run_name == f"{candidate.weights_sha256[:8]} tiny 2 epochs on sample"
    assert (run.info.status, run.info.end_time) == ("FINISHED", ended)  # its duration stays the training's
    assert [metric.step for metric in client.get_metric_history(run_id, "train_loss")] == [1, 2]
    assert run.data.params == {"epochs": "2", "network": "tiny", "parameters": "4"}
    assert run.data.metrics["test_accuracy_low"] == pytest.approx(candidate.metrics["test_accuracy"] - 0.05)
    assert run.data.metrics["train_seconds"] == 1.5
    assert run.data.tags["source"] == "sample"
    assert "restored" not in run.data.tags
    assert "Test accuracy" in run.data.tags["mlflow.note.content"]


def test_files_are_stored_at_the_recorded_addresses(checkout: PipelineCheckout) -> None:
    checkout.write_params()
    candidate = trained_candidate(checkout)
    recorded = record_candidate(candidate, EXPERIMENT, LINEAGE, load_keras)
    with fetch_artifact(recorded.bundle_uri) as bundle:
        assert {p.name: p.read_bytes() for p in bundle.iterdir()} == {
            p.name: p.read_bytes() for p in candidate.bundle.path.iterdir()
        }
    with fetch_artifact(recorded.predictions_uri) as predictions:
        assert predictions.read_bytes() == candidate.predictions.read_bytes()
    paths = {file.path for file in open_client().list_artifacts(recorded.run_id)}
    assert paths == {"bundle", "card.md", recorded.lineage_path, "predictions", "report.html", "roc.png"}
    (lineage_file,) = open_client().list_artifacts(recorded.run_id, recorded.lineage_path)
    assert lineage_file.path == f"{recorded.lineage_path}/params.yaml"


def test_metrics_are_tied_to_model_and_data(checkout: PipelineCheckout) -> None:
    candidate = trained_candidate(checkout)
    recorded = record_candidate(candidate, EXPERIMENT, LINEAGE, load_keras)
    client = open_client()
    inputs = client.get_run(recorded.run_id).inputs
    assert inputs is not None
    digests = {entry.tags[0].value: entry.dataset.digest for entry in inputs.dataset_inputs}
    assert digests == {"training": "d" * 36, "testing": "t" * 36}
    model = client.get_logged_model(recorded.model_id)
    metrics = {metric.key: metric for metric in model.metrics or ()}
    assert metrics["test_auc"].value == candidate.metrics["test_auc"]
    assert metrics["test_auc"].dataset_digest == "t" * 36
    assert metrics["source/sample/accuracy"].dataset_digest == "t" * 36
    assert metrics["valid_auc"].dataset_digest is None
    assert (model.name, str(model.status), model.source_run_id) == ("detector", "READY", recorded.run_id)


def test_data_sets_have_a_schema_and_a_source_that_opens(checkout: PipelineCheckout) -> None:
    import mlflow.data

    candidate = trained_candidate(checkout)
    recorded = record_candidate(candidate, EXPERIMENT, LINEAGE, load_keras)
    checkout.workspace.raw.mkdir(parents=True)
    archive = checkout.workspace.raw / "sample.zip"
    archive.write_bytes(b"pictures")
    inputs = open_client().get_run(recorded.run_id).inputs
    assert inputs is not None
    data = {entry.tags[0].value: entry.dataset for entry in inputs.dataset_inputs}
    opened = {context: Path(mlflow.data.get_source(dataset).load()) for context, dataset in data.items()}
    assert opened["testing"].read_bytes() == candidate.predictions.read_bytes()
    assert opened["training"].read_bytes() == archive.read_bytes()
    columns = json.loads(data["testing"].schema or "")["mlflow_colspec"]
    assert [(column["name"], column["type"]) for column in columns] == [
        ("path", "string"),
        ("label", "long"),
        ("p_fake", "double"),
    ]
    assert "64, 64, 3" in json.loads(data["training"].schema or "")["mlflow_tensorspec"]["features"]


def test_recording_again_adds_nothing(checkout: PipelineCheckout) -> None:
    candidate = trained_candidate(checkout)
    first = record_candidate(candidate, EXPERIMENT, LINEAGE, load_keras)
    before = (checkout.workspace.root / "mlflow.db").read_bytes()
    assert record_candidate(candidate, EXPERIMENT, LINEAGE, load_nothing) == first
    assert (checkout.workspace.root / "mlflow.db").read_bytes() == before


def test_a_second_evaluation_of_the_same_training_keeps_both_bundles(checkout: PipelineCheckout) -> None:
    first = record_candidate(trained_candidate(checkout), EXPERIMENT, LINEAGE, load_keras)
    second = record_candidate(
        checkout.candidate(test_digest="u" * 64, trained_on="photographs"),
        EXPERIMENT,
        LINEAGE,
        load_nothing,
    )
    assert first.run_id == second.run_id
    assert first.keras_uri == second.keras_uri
    assert first.model_id != second.model_id
    assert first.bundle_uri != second.bundle_uri
    with fetch_artifact(first.bundle_uri) as one, fetch_artifact(second.bundle_uri) as two:
        assert (one / "contract.json").read_bytes() != (two / "contract.json").read_bytes()


def test_a_training_without_a_run_is_restored_once_with_its_history(checkout: PipelineCheckout) -> None:
    candidate = checkout.candidate()  # its run is not in this store, as after DVC's run cache restored the training
    recorded = record_candidate(candidate, EXPERIMENT, LINEAGE, load_keras)
    client = open_client()
    run = client.get_run(recorded.run_id)
    assert (run.data.tags["restored"], recorded.restored) == ("true", True)
    assert run.data.tags["git_commit"] == LINEAGE["git_commit"]
    history = [(m.step, m.value) for m in client.get_metric_history(recorded.run_id, "val_auc")]
    assert history == [(1, 0.6), (2, 0.9)]
    assert run.info.status == "FINISHED"
    assert record_candidate(candidate, EXPERIMENT, LINEAGE, load_nothing) == recorded


def test_of_several_runs_the_newest_training_is_completed(checkout: PipelineCheckout) -> None:
    restored = record_candidate(checkout.candidate(), EXPERIMENT, LINEAGE, load_keras)
    logged_run()
    time.sleep(0.01)  # MLflow sorts by milliseconds
    newest = logged_run()
    recorded = record_candidate(checkout.candidate(test_digest="u" * 64), EXPERIMENT, LINEAGE, load_keras)
    assert (recorded.run_id, recorded.restored, restored.restored) == (newest, False, True)
    assert open_client().get_run(newest).data.metrics["train_seconds"] == 1.5


def test_of_trainings_with_the_same_weights_the_one_with_the_same_parameters_is_completed(
    checkout: PipelineCheckout,
) -> None:
    mine = logged_run()
    time.sleep(0.01)
    with start_run(EXPERIMENT, "tiny-3ep", {"epochs": 3}, LINEAGE) as longer:  # its second epoch was the best
        log_training_result(longer.run_id, weights_of_seed(0), 1.5, 0)
    assert record_candidate(checkout.candidate(), EXPERIMENT, LINEAGE, load_keras).run_id == mine


def test_lost_files_are_stored_again(checkout: PipelineCheckout) -> None:
    candidate = trained_candidate(checkout)
    recorded = record_candidate(candidate, EXPERIMENT, LINEAGE, load_keras)
    shutil.rmtree(checkout.workspace.root / "mlartifacts")
    assert record_candidate(candidate, EXPERIMENT, LINEAGE, load_keras) == recorded
    with (
        fetch_artifact(f"{recorded.keras_uri}/data/model.keras") as model,
        fetch_artifact(f"{recorded.model_uri}/artifacts/bundle/SHA256SUMS") as sealed,
        fetch_artifact(f"{recorded.bundle_uri}/SHA256SUMS") as seal,
    ):
        assert model.is_file()
        assert seal.read_bytes() == sealed.read_bytes()
