"""Tracking URI -> an MLflow client whose artifact URIs stay valid when the folder is moved.

With a SQLite store, MLflow writes absolute artifact paths, and a moved folder loses every model. `mlflow server` writes
`mlflow-artifacts:/...` instead, which only a server can read. Here runs are always stored under
`mlflow-artifacts:/...`. For a SQLite store, MLflow calls `ProxiedArtifacts` below (an entry point of the group
`mlflow.artifact_repository`, which overrides MLflow's own), and it maps the URI to the folder `mlartifacts` beside the
database. The same store therefore serves scripts, notebooks and
`mlflow server --artifacts-destination ./mlartifacts`.

MLflow is imported inside the functions: its import takes 5 s and imports this module in turn, and reading the registry
(registry/model_registry.py) does not need it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deepfake_detector.errors import BadInput, ModelNotFound, ToolFailed

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

ARTIFACT_SCHEME = "mlflow-artifacts:"
ARTIFACT_FOLDER = "mlartifacts"
SQLITE_PREFIX = "sqlite:///"


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else MLflow's default: mlflow.db in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE_PREFIX}mlflow.db"


def local_database(uri: str) -> Path | None:
    """The file of a SQLite URI, absolute; None for a server or another database."""
    path = uri.removeprefix(SQLITE_PREFIX).split("?")[0]
    return Path(path).resolve() if uri.startswith(SQLITE_PREFIX) and path and ":memory:" not in path else None


def local_folder(artifact_uri: str, uri: str) -> Path | None:
    """The folder of an `mlflow-artifacts:/...` URI in a SQLite store; None if only a server can resolve it.

    Raises:
        BadInput: the URI leaves the artifact folder.
    """
    database = local_database(uri)
    if (
        database is None
        or not artifact_uri.startswith(ARTIFACT_SCHEME)
        or artifact_uri.startswith(f"{ARTIFACT_SCHEME}//")
    ):
        return None
    root = database.parent / ARTIFACT_FOLDER
    folder = (root / artifact_uri.removeprefix(ARTIFACT_SCHEME).lstrip("/")).resolve()
    if not folder.is_relative_to(root):
        raise BadInput(f"artifact URI {artifact_uri} leaves {root}", "the store was tampered with; do not use it")
    return folder


def ProxiedArtifacts(  # noqa: N802 - it stands in for one of MLflow's classes
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> ArtifactRepository:
    """The repository of an `mlflow-artifacts:` URI: a folder for a SQLite store, else MLflow's own client."""
    import mlflow
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    uri = tracking_uri or mlflow.get_tracking_uri()
    folder = local_folder(artifact_uri, uri)
    if folder is None:
        return MlflowArtifactsRepository(artifact_uri, tracking_uri=uri, registry_uri=registry_uri)
    return LocalArtifactRepository(str(folder), tracking_uri=uri, registry_uri=registry_uri)


def open_client() -> MlflowClient:
    """A client of the store; a missing SQLite file is created with all its tables (5 to 9 s).

    Raises:
        ToolFailed: the store cannot be reached or opened.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    uri = tracking_uri()
    database = local_database(uri)
    try:
        if database and not database.exists():
            # The first opening writes the Default experiment: with this root, its URI is not absolute.
            SqlAlchemyStore(uri, f"{ARTIFACT_SCHEME}/")  # type: ignore[no-untyped-call]
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    except MlflowException as error:
        raise ToolFailed(
            f"the MLflow store {uri} does not answer: {error}", "start the server, or unset MLFLOW_TRACKING_URI"
        ) from error
    return client


def open_experiment(client: MlflowClient, name: str) -> str:
    """The id of an experiment, which is created if missing.

    Raises:
        BadInput: the experiment was deleted; MLflow does not free its name.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        # A server chooses its own root; for SQLite it must be given, or the URI becomes absolute.
        return client.create_experiment(name, f"{ARTIFACT_SCHEME}/{name}" if local_database(tracking_uri()) else None)
    if found.lifecycle_stage != "active":
        raise BadInput(
            f"MLflow's experiment {name!r} was deleted",
            f"`mlflow experiments restore -x {found.experiment_id}`, or name another (params.yaml register.experiment)",
        )
    return str(found.experiment_id)


@contextmanager
def fetch_artifact(artifact_uri: str) -> Iterator[Path]:
    """The path of an artifact, valid inside the `with` block: in place in a local store, else downloaded.

    Raises:
        ModelNotFound: the store does not have it.
    """
    uri = tracking_uri()
    path = local_folder(artifact_uri, uri)
    if path is not None:
        if not path.exists():
            raise ModelNotFound(f"{artifact_uri} is not in the store: no {path}", "restore mlartifacts/ from a backup")
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield _download(artifact_uri, uri, folder)


def _download(artifact_uri: str, uri: str, folder: str) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        return Path(download_artifacts(artifact_uri=artifact_uri, dst_path=folder, tracking_uri=uri))
    except (MlflowException, OSError) as error:
        raise ModelNotFound(f"{uri} does not return {artifact_uri}: {error}", "check the run in MLflow's UI") from error
