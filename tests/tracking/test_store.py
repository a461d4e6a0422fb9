"""Artifact URIs of a local store: relative in the database, mapped to a folder; a server has MLflow's own client."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from deepfake_detector.errors import BadInput, ModelNotFound, ToolFailed
from deepfake_detector.tracking.store import (
    fetch_artifact,
    local_database,
    local_folder,
    open_client,
    open_experiment,
    tracking_uri,
)


@pytest.mark.parametrize(
    ("uri", "database"),
    [
        ("sqlite:////somewhere/mlflow.db", Path("/somewhere/mlflow.db")),
        ("sqlite:////somewhere/mlflow.db?timeout=3", Path("/somewhere/mlflow.db")),
        ("sqlite:///:memory:", None),
        ("http://127.0.0.1:5000", None),
        ("postgresql://host/name", None),
    ],
)
def test_only_sqlite_uris_have_a_database_file(uri: str, database: Path | None) -> None:
    assert local_database(uri) == database


def test_the_default_store_lies_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert local_database(tracking_uri()) == tmp_path / "mlflow.db"


def test_a_uri_of_a_sqlite_store_is_mapped_to_a_folder() -> None:
    found = local_folder("mlflow-artifacts:/a/b", "sqlite:////somewhere/mlflow.db")
    assert found == Path("/somewhere/mlartifacts/a/b")


@pytest.mark.parametrize(
    ("artifact_uri", "uri"),
    [
        ("mlflow-artifacts:/a", "http://127.0.0.1:5000"),
        ("mlflow-artifacts://host/a", "sqlite:////somewhere/mlflow.db"),
        ("s3://bucket/a", "sqlite:////somewhere/mlflow.db"),
    ],
)
def test_other_uris_have_no_local_folder(artifact_uri: str, uri: str) -> None:
    assert local_folder(artifact_uri, uri) is None


@pytest.mark.parametrize("artifact_uri", ["mlflow-artifacts:/../secret", "mlflow-artifacts:/a/../../secret"])
def test_a_uri_cannot_leave_the_artifact_folder(artifact_uri: str) -> None:
    with pytest.raises(BadInput, match="leaves /somewhere/mlartifacts"):
        local_folder(artifact_uri, "sqlite:////somewhere/mlflow.db")


def test_mlflow_uses_our_repository_for_sqlite_and_its_own_for_servers(tmp_path: Path, libraries: None) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    local = get_artifact_repository("mlflow-artifacts:/a", tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert isinstance(local, LocalArtifactRepository)
    assert local.artifact_dir == str(tmp_path / "mlartifacts" / "a")
    remote = get_artifact_repository("mlflow-artifacts:/a", tracking_uri="http://127.0.0.1:9")
    assert isinstance(remote, MlflowArtifactsRepository)


def test_the_entry_point_loads_whichever_is_imported_first() -> None:
    """MLflow's import imports this module: importing ours first must not fail on a partially initialised module."""
    code = (
        "import warnings; warnings.simplefilter('error'); import deepfake_detector.tracking.store as s; import sys;"
        "assert 'mlflow' not in sys.modules; import mlflow;"
        "from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories as r;"
        "assert r()['mlflow-artifacts'] is s.ProxiedArtifacts"
    )
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=environment)


def test_a_new_store_has_no_absolute_path(store_folder: Path) -> None:
    client = open_client()
    run = client.create_run(open_experiment(client, "experiment"))
    client.log_text(run.info.run_id, "hello", "a/b.txt")
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/experiment/")
    with sqlite3.connect(store_folder / "mlflow.db") as connection:
        dump = "\n".join(connection.iterdump())
    assert "mlflow-artifacts:/0" in dump  # MLflow's Default experiment too
    assert str(store_folder) not in dump
    assert (
        store_folder / "mlartifacts" / "experiment" / run.info.run_id / "artifacts" / "a" / "b.txt"
    ).read_text() == "hello"
    assert not (store_folder / "mlruns").exists()
    with fetch_artifact(f"{run.info.artifact_uri}/a/b.txt") as path:
        assert path.read_text() == "hello"


def test_a_missing_artifact_is_an_error(store_folder: Path) -> None:
    with pytest.raises(ModelNotFound, match="not in the store"), fetch_artifact("mlflow-artifacts:/experiment/none"):
        pass


def test_the_error_for_a_deleted_experiment_names_the_restore_command(store_folder: Path) -> None:
    client = open_client()
    experiment_id = open_experiment(client, "experiment")
    assert open_experiment(client, "experiment") == experiment_id
    client.delete_experiment(experiment_id)
    with pytest.raises(BadInput, match=f"restore -x {experiment_id}"):
        open_experiment(client, "experiment")


def test_a_server_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch, libraries: None) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ToolFailed, match="does not answer"):
        open_client()
