"""Tracking address -> an MLflow client whose artifact addresses stay true when the folder moves.

A bare SQLite store writes absolute artifact paths, and a moved folder then loses every model. `mlflow server` writes
`mlflow-artifacts:/...` instead, but only a server can read that. Here both meet: runs are stored under
`mlflow-artifacts:/...`, and for a SQLite file MLflow finds `ProxiedArtifacts` below (an entry point of the group
`mlflow.artifact_repository`, which overrides MLflow's own), which reads it as the folder `mlartifacts` beside the file.
So the same store serves scripts, notebooks and `mlflow server --artifacts-destination ./mlartifacts`.

MLflow is imported inside the functions: its import takes 5 s, imports this module in turn, and what only looks at the
registry (shelf.py) needs none of it.
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

SCHEME = "mlflow-artifacts:"
FOLDER = "mlartifacts"
SQLITE = "sqlite:///"


def tracking_uri() -> str:
    """Where runs and versions are kept: MLFLOW_TRACKING_URI, else MLflow's own default, a file in this folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"


def local_database(uri: str) -> Path | None:
    """The file behind a SQLite address, absolute; None for a server or another database."""
    path = uri.removeprefix(SQLITE).split("?")[0]
    return Path(path).resolve() if uri.startswith(SQLITE) and path and ":memory:" not in path else None


def local_folder(artifact_uri: str, uri: str) -> Path | None:
    """The folder that `mlflow-artifacts:/...` names in a local store; None where only a server knows.

    Raises:
        BadInput: the address climbs out of the artifact folder.
    """
    database = local_database(uri)
    if database is None or not artifact_uri.startswith(SCHEME) or artifact_uri.startswith(f"{SCHEME}//"):
        return None
    root = database.parent / FOLDER
    folder = (root / artifact_uri.removeprefix(SCHEME).lstrip("/")).resolve()
    if not folder.is_relative_to(root):
        raise BadInput(f"artifact address {artifact_uri} leaves {root}", "the store was tampered with; do not use it")
    return folder


def ProxiedArtifacts(  # noqa: N802 - MLflow registers it where its own classes stand
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> ArtifactRepository:
    """What MLflow asks for every `mlflow-artifacts:` address: a folder for a SQLite store, else MLflow's own client."""
    import mlflow
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    uri = tracking_uri or mlflow.get_tracking_uri()
    folder = local_folder(artifact_uri, uri)
    if folder is None:
        return MlflowArtifactsRepository(artifact_uri, tracking_uri=uri, registry_uri=registry_uri)
    return LocalArtifactRepository(str(folder), tracking_uri=uri, registry_uri=registry_uri)


def open_client() -> MlflowClient:
    """A client of the store; a SQLite file is created, with all its tables, when there is none (5 to 9 s).

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
            # Its first opening writes the Default experiment: with this root, no absolute address gets in.
            SqlAlchemyStore(uri, f"{SCHEME}/")  # type: ignore[no-untyped-call]
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    except MlflowException as error:
        raise ToolFailed(
            f"the MLflow store {uri} does not answer: {error}", "start the server, or unset MLFLOW_TRACKING_URI"
        ) from error
    return client


def open_experiment(client: MlflowClient, name: str) -> str:
    """The id of an experiment, which is created on first use.

    Raises:
        BadInput: somebody deleted the experiment of this name, and MLflow keeps the name taken.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        # A server chooses its own root; for a file it must be said, or the address becomes absolute.
        return client.create_experiment(name, f"{SCHEME}/{name}" if local_database(tracking_uri()) else None)
    if found.lifecycle_stage != "active":
        raise BadInput(
            f"MLflow's experiment {name!r} was deleted",
            f"`mlflow experiments restore -x {found.experiment_id}`, or name another (params.yaml register.experiment)",
        )
    return str(found.experiment_id)


@contextmanager
def fetch(artifact_uri: str) -> Iterator[Path]:
    """A stored file or folder, for the time of the `with` block: in place where the store is local, else downloaded.

    Raises:
        ModelNotFound: the store does not hold it.
    """
    uri = tracking_uri()
    place = local_folder(artifact_uri, uri)
    if place is not None:
        if not place.exists():
            raise ModelNotFound(f"{artifact_uri} is not in the store: no {place}", "bring mlartifacts/ back")
        yield place
        return
    with tempfile.TemporaryDirectory() as folder:
        yield _download(artifact_uri, uri, folder)


def _download(artifact_uri: str, uri: str, folder: str) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        return Path(download_artifacts(artifact_uri=artifact_uri, dst_path=folder, tracking_uri=uri))
    except (MlflowException, OSError) as error:
        raise ModelNotFound(f"{uri} does not give {artifact_uri}: {error}", "look for it in MLflow's pages") from error
