"""Artifact URIs of a local store: relative in the database, mapped to a folder; a server has MLflow's own client."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.errors import BadInput, ModelNotFound, ToolFailed
from deepfake_detector.paths import Workspace
from deepfake_detector.registry.model_registry import read_registry
from deepfake_detector.registry.run_table import read_runs
from deepfake_detector.tracking.store import (
    READABLE_SCHEMAS,
    fetch_artifact,
    local_database,
    local_folder,
    open_client,
    open_experiment,
    schema_version,
    tracking_uri,
)


@pytest.mark.parametrize(
    ("uri", "database"),
    [
        ("sqlite:////somewhere/mlflow.db", Path("/somewhere/mlflow.db")),
        ("sqlite:////somewhere/mlflow.db?timeout=3", Path("/somewhere/mlflow.db")),
        ("deepfake-sqlite:////somewhere/mlflow.db", Path("/somewhere/mlflow.db")),
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


def test_local_stores_have_our_repository_and_servers_mlflows(store_folder: Path) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    open_client()
    for uri in (f"sqlite:///{store_folder}/mlflow.db", f"deepfake-sqlite:///{store_folder}/mlflow.db"):
        local = get_artifact_repository("mlflow-artifacts:/a", tracking_uri=uri)
        assert isinstance(local, LocalArtifactRepository)
        assert local.artifact_dir == str(store_folder / "mlartifacts" / "a")
    remote = get_artifact_repository("mlflow-artifacts:/a", tracking_uri="http://127.0.0.1:9")
    assert isinstance(remote, MlflowArtifactsRepository)


OTHER_PROGRAM = (
    "import mlflow\n"
    "from mlflow.store.artifact import artifact_repository_registry as registry\n"
    "own = registry.get_registered_artifact_repositories()['mlflow-artifacts'].__module__\n"
    "run = mlflow.MlflowClient().search_runs(['1'])[0].info.run_id\n"
    "try:\n"
    "    text = mlflow.artifacts.load_text(f'runs:/{run}/a.txt')\n"
    "except Exception as error:\n"
    "    text = type(error).__name__\n"
    "print(own, text)\n"
)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "text"), [("deepfake-sqlite", "hello"), ("sqlite", "MlflowException")])
def test_other_programs_keep_mlflows_repository_unless_they_name_our_scheme(
    store_folder: Path, scheme: str, text: str
) -> None:
    client = open_client()
    run = client.create_run(open_experiment(client, "experiment"))
    client.log_text(run.info.run_id, "hello", "a.txt")
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"{scheme}:///{store_folder}/mlflow.db"}
    command = [sys.executable, "-W", "ignore", "-c", OTHER_PROGRAM]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["mlflow.store.artifact.mlflow_artifacts_repo", text]


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


START = (
    "import logging, warnings; warnings.simplefilter('ignore'); logging.disable(logging.WARNING)\n"
    "from deepfake_detector.tracking.store import open_client, open_experiment\n"
    "print(open_experiment(open_client(), 'experiment'))\n"
)


@pytest.mark.slow
def test_two_trainings_that_start_together_on_a_new_store_share_it(tmp_path: Path) -> None:
    environment = os.environ | Workspace(tmp_path).tool_environment()
    command = [sys.executable, "-W", "ignore", "-c", START]
    both = [subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) for _ in "12"]
    printed = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert printed == ["1\n", "1\n"]
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        locations = connection.execute("SELECT artifact_location FROM experiments ORDER BY experiment_id").fetchall()
    assert locations == [("mlflow-artifacts:/0",), ("mlflow-artifacts:/experiment",)]
    assert not list(tmp_path.glob(".mlflow.db*"))


def test_an_experiment_that_another_process_creates_meanwhile_is_used(store_folder: Path) -> None:
    client = open_client()
    experiment_id = open_experiment(client, "experiment")
    answers = iter([None, client.get_experiment_by_name("experiment")])
    client.get_experiment_by_name = lambda name: next(answers)  # type: ignore[method-assign]
    assert open_experiment(client, "experiment") == experiment_id


def make_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
    "junk": (lambda path: path.write_bytes(b"no database" * 100), "cannot be read: file is not a database"),
    "foreign": (make_foreign, "it has no table alembic_version"),
    "folder": (lambda path: path.mkdir(), "cannot be read"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_store_is_a_clear_error_within_seconds(store_folder: Path, kind: str) -> None:
    path = store_folder / "mlflow.db"
    path.unlink()
    make, message = BROKEN[kind]
    make(path)
    started_s = time.monotonic()
    for read in (open_client, lambda: read_registry("tiny"), lambda: read_runs("experiment")):
        with pytest.raises(ToolFailed, match=message) as raised:
            read()
        assert "backup" in raised.value.hint
    assert time.monotonic() - started_s < 5


KILLED_WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size = 1")  # pages, so that the change is written before it is committed
connection.execute("BEGIN IMMEDIATE")
connection.execute("CREATE TABLE killed (content BLOB)")
connection.executemany("INSERT INTO killed VALUES (randomblob(4000))", [()] * 200)
os._exit(9)
"""


def test_the_transaction_of_a_killed_writer_is_rolled_back(store_folder: Path) -> None:
    """Reading alone cannot: SQLite refuses a store that a killed training left with a journal."""
    path = store_folder / "mlflow.db"
    before = path.read_bytes()
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(path)], check=False)
    assert (store_folder / "mlflow.db-journal").stat().st_size > 0
    assert schema_version(path) in READABLE_SCHEMAS
    assert path.read_bytes() == before


def test_a_store_that_cannot_be_created_leaves_nothing_and_no_traceback_of_sqlalchemy(
    store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.tracking import sqlalchemy_store
    from sqlalchemy.exc import OperationalError

    class Full:
        def __init__(self, uri: str, root: str) -> None:
            local = local_database(uri)
            assert local is not None
            local.write_bytes(b"half")
            raise OperationalError("CREATE TABLE", {}, OSError("disk is full"))

    (store_folder / "mlflow.db").unlink()
    monkeypatch.setattr(sqlalchemy_store, "SqlAlchemyStore", Full)
    with pytest.raises(ToolFailed, match=r"cannot create the MLflow store .*disk is full"):
        open_client()
    assert [path.name for path in store_folder.iterdir()] == ["mlflow.db.moving"]


def test_the_installed_mlflow_has_a_schema_that_is_read_without_it(store_folder: Path) -> None:
    from mlflow.store.db import utils

    db: Any = utils  # untyped

    assert db._get_latest_schema_revision() in READABLE_SCHEMAS
    assert schema_version(store_folder / "mlflow.db") in READABLE_SCHEMAS


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
