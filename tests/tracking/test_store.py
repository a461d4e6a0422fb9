"""Artifact addresses of a local store: relative on paper, a folder in use, MLflow's own client for a server."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.errors import BadInput, ModelNotFound, ToolFailed
from deepfake_detector.tracking.store import (
    fetch,
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
def test_which_stores_are_a_file(uri: str, database: Path | None) -> None:
    assert local_database(uri) == database


def test_a_relative_address_means_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert local_database(tracking_uri()) == tmp_path / "mlflow.db"


def test_folder_of_an_address() -> None:
    found = local_folder("mlflow-artifacts:/a/b", "sqlite:////somewhere/mlflow.db")
    assert found == Path("/somewhere/mlartifacts/a/b")


@pytest.mark.parametrize(
    ("address", "uri"),
    [
        ("mlflow-artifacts:/a", "http://127.0.0.1:5000"),
        ("mlflow-artifacts://host/a", "sqlite:////somewhere/mlflow.db"),
        ("s3://bucket/a", "sqlite:////somewhere/mlflow.db"),
    ],
)
def test_addresses_that_are_no_folder_here(address: str, uri: str) -> None:
    assert local_folder(address, uri) is None


@pytest.mark.parametrize("address", ["mlflow-artifacts:/../secret", "mlflow-artifacts:/a/../../secret"])
def test_an_address_cannot_climb_out(address: str) -> None:
    with pytest.raises(BadInput, match="leaves /somewhere/mlartifacts"):
        local_folder(address, "sqlite:////somewhere/mlflow.db")


def test_mlflow_finds_our_repository_for_files_and_its_own_for_servers(tmp_path: Path, libraries: None) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    local = get_artifact_repository("mlflow-artifacts:/a", tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert isinstance(local, LocalArtifactRepository)
    assert local.artifact_dir == str(tmp_path / "mlartifacts" / "a")
    remote = get_artifact_repository("mlflow-artifacts:/a", tracking_uri="http://127.0.0.1:9")
    assert isinstance(remote, MlflowArtifactsRepository)


def test_the_entry_point_loads_whichever_is_imported_first() -> None:
    """This module is imported by MLflow's own import: importing ours first must not end in a half-made module."""
    code = (
        "import warnings; warnings.simplefilter('error'); import deepfake_detector.tracking.store as s; import sys;"
        "assert 'mlflow' not in sys.modules; import mlflow;"
        "from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories as r;"
        "assert r()['mlflow-artifacts'] is s.ProxiedArtifacts"
    )
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=environment)


def test_no_absolute_path_gets_into_a_new_store(road: Any) -> None:
    client = open_client()
    run = client.create_run(open_experiment(client, "road"))
    client.log_text(run.info.run_id, "hello", "a/b.txt")
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/road/")
    root = road.workspace.root
    with sqlite3.connect(root / "mlflow.db") as connection:
        dump = "\n".join(connection.iterdump())
    assert "mlflow-artifacts:/0" in dump  # MLflow's Default experiment too
    assert str(root) not in dump
    assert (root / "mlartifacts" / "road" / run.info.run_id / "artifacts" / "a" / "b.txt").read_text() == "hello"
    assert not (root / "mlruns").exists()
    with fetch(f"{run.info.artifact_uri}/a/b.txt") as path:
        assert path.read_text() == "hello"


def test_what_the_store_does_not_hold(road: Any) -> None:
    with pytest.raises(ModelNotFound, match="not in the store"), fetch("mlflow-artifacts:/road/none"):
        pass


def test_a_deleted_experiment_says_how_to_bring_it_back(road: Any) -> None:
    client = open_client()
    number = open_experiment(client, "road")
    assert open_experiment(client, "road") == number
    client.delete_experiment(number)
    with pytest.raises(BadInput, match=f"restore -x {number}"):
        open_experiment(client, "road")


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, libraries: None) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ToolFailed, match="does not answer"):
        open_client()
