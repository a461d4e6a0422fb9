"""Tracking URI -> an MLflow client whose artifact URIs stay valid when the folder is moved.

With a SQLite store, MLflow writes absolute artifact paths, and a moved folder loses every model. `mlflow server` writes
`mlflow-artifacts:/...` instead, which only a server can read. Here runs are always stored under
`mlflow-artifacts:/...`, and `ProxiedArtifacts` below maps that to the folder `mlartifacts` beside the database. So the
same store serves this program and `mlflow server --artifacts-destination ./mlartifacts`.

MLflow learns of `ProxiedArtifacts` only in processes that open such a store: by `open_client`, or by a tracking URI
`deepfake-sqlite:///mlflow.db`, whose scheme pyproject.toml names as an entry point. All others keep MLflow's own.

MLflow is imported inside the functions: its import takes 5 s, and reading the registry (registry/model_registry.py)
does not need it.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from deepfake_detector.errors import BadInput, ModelNotFound, ToolFailed
from deepfake_detector.io import atomic_write

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

Answer = TypeVar("Answer")

ARTIFACT_SCHEME = "mlflow-artifacts:"
ARTIFACT_FOLDER = "mlartifacts"
SQLITE_PREFIX = "sqlite:///"
OWN_PREFIX = "deepfake-sqlite:///"  # for other programs that read a local store: `mlflow models serve`, notebooks
LOCK_SUFFIX = ".moving"  # of the file beside a local store; older versions of this program lock the same name
LOCK_WAIT_S = 120.0  # for other holders; a change takes a second, creating a store 5 to 30
READ_TIMEOUT_S = 30.0  # for a writer that holds the database
# Revisions of MLflow's tables whose names and columns this program reads without MLflow: that of 3.17.
READABLE_SCHEMAS = ("dc11669786a5",)


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else MLflow's default: mlflow.db in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE_PREFIX}mlflow.db"


def local_database(uri: str) -> Path | None:
    """The file of a SQLite URI, absolute; None for a server or another database."""
    uri = sqlite_uri(uri)
    path = uri.removeprefix(SQLITE_PREFIX).split("?")[0]
    return Path(path).resolve() if uri.startswith(SQLITE_PREFIX) and path and ":memory:" not in path else None


def sqlite_uri(uri: str) -> str:
    """`deepfake-sqlite:///FILE` as SQLAlchemy knows it; any other URI as it is."""
    return SQLITE_PREFIX + uri.removeprefix(OWN_PREFIX) if uri.startswith(OWN_PREFIX) else uri


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


def register_local_artifacts() -> None:
    """Let MLflow use `ProxiedArtifacts` in this process."""
    from mlflow.store.artifact.artifact_repository_registry import get_registered_artifact_repositories

    repositories: dict[str, Any] = get_registered_artifact_repositories()
    repositories[ARTIFACT_SCHEME.rstrip(":")] = ProxiedArtifacts


def open_tracking_store(store_uri: str, artifact_uri: str | None = None) -> Any:
    """MLflow's tracking store for `deepfake-sqlite:///FILE`; MLflow calls it."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    register_local_artifacts()
    store: Any = SqlAlchemyStore  # untyped
    return store(sqlite_uri(store_uri), artifact_uri or f"{ARTIFACT_SCHEME}/")


def open_registry_store(store_uri: str) -> Any:
    """MLflow's model registry for `deepfake-sqlite:///FILE`; MLflow calls it."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    register_local_artifacts()
    store: Any = SqlAlchemyStore  # untyped
    return store(sqlite_uri(store_uri))


def read_store(from_file: Callable[[Path], Answer], by_client: Callable[[], Answer], empty: Answer) -> Answer:
    """Read a local store from its SQLite file, which needs no import of MLflow; any other store by MLflow's client.

    Args:
        from_file: reads a database whose schema is one of READABLE_SCHEMAS; may raise `sqlite3.Error`.
        by_client: asks MLflow.
        empty: the answer of a local store that was not created yet.

    Raises:
        ToolFailed: the store does not answer.
    """
    database = local_database(tracking_uri())
    if database is None:
        return by_client()
    if not database.exists():
        return empty
    if schema_version(database) not in READABLE_SCHEMAS:
        return by_client()
    try:
        return from_file(database)
    except sqlite3.Error:  # for example a locked file: MLflow tries again, and its errors are translated
        return by_client()


def schema_version(database: Path) -> str:
    """Revision of MLflow's tables in a SQLite file, checked before anything is read from them or by MLflow.

    MLflow itself tries a broken file for three minutes before it fails.

    Raises:
        ToolFailed: the file cannot be read, is empty, is no SQLite database or has no tables of MLflow.
    """
    hint = "restore it from a backup, or move it away: then `make repro` makes a new store"
    try:
        if database.is_file() and not database.stat().st_size:
            raise ToolFailed(f"the MLflow store {database} is empty (0 bytes)", hint)
        with closing(connect_readonly(database)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, OSError) as error:
        if "no such table" in str(error):
            raise ToolFailed(f"{database} is no MLflow store: it has no table alembic_version", hint) from error
        raise ToolFailed(f"the MLflow store {database} cannot be read: {error}", hint) from error
    if row is None:
        raise ToolFailed(f"the MLflow store {database} has no schema version: its creation was interrupted", hint)
    return str(row[0])


def connect_readonly(database: Path) -> sqlite3.Connection:
    """Open a SQLite file that must exist; the caller closes the connection.

    The transaction of a killed writer is rolled back first. SQLite needs to write for that, and says "attempt to write
    a readonly database" otherwise.
    """
    connection = _connect(database, "ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if "readonly" not in str(error):
            raise
        with closing(_connect(database, "rw")) as writable:
            writable.execute("SELECT 1 FROM sqlite_master").fetchone()
        return _connect(database, "ro")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(database: Path, mode: Literal["ro", "rw"]) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.as_uri()}?mode={mode}", uri=True, timeout=READ_TIMEOUT_S)


@contextmanager
def store_lock(database: Path) -> Iterator[None]:
    """Hold the lock of a local store for the `with` block: SQLite's own, on an empty file beside the store.

    It works wherever the store does, and ends with the process.

    Raises:
        ToolFailed: another process held it for LOCK_WAIT_S, or the folder cannot be written.
    """
    path = database.with_name(f"{database.name}{LOCK_SUFFIX}")
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=LOCK_WAIT_S, isolation_level=None)
    except (sqlite3.Error, OSError) as error:
        raise ToolFailed(f"cannot create {path}: {error}", "make its folder writable") from error
    with closing(connection):
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise lock_timeout(str(path), str(error)) from error
        yield


def lock_timeout(name: str, detail: str) -> ToolFailed:
    """The error for a lock that another process did not release."""
    return ToolFailed(
        f"another process has been changing the MLflow store for {LOCK_WAIT_S:g} s ({name}: {detail})",
        "wait for it, or end it if it hangs",
    )


def open_client() -> MlflowClient:
    """A client of the store; a missing SQLite file is created with all its tables (5 to 9 s).

    Raises:
        ToolFailed: the store cannot be reached or opened.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri = sqlite_uri(tracking_uri())
    database = local_database(uri)
    if database is not None:
        register_local_artifacts()
        if not database.exists():
            _create_store(database)
        schema_version(database)
    try:
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError) as error:
        server = "start the server, or unset MLFLOW_TRACKING_URI"
        hint = server if database is None else f"`mlflow db upgrade {uri}` upgrades the tables of an older MLflow"
        raise ToolFailed(f"the MLflow store {uri} does not answer: {error}", hint) from error
    return client


def _create_store(database: Path) -> None:
    """Create the tables in a temporary file, which is renamed: no other process sees a store without them."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy.exc import SQLAlchemyError

    with store_lock(database):
        if database.exists():
            return
        try:
            with atomic_write(database) as temporary:
                # The first opening writes the Default experiment: with this root, its URI is not absolute.
                store: Any = SqlAlchemyStore
                store(f"{SQLITE_PREFIX}{temporary}", f"{ARTIFACT_SCHEME}/")._dispose_engine()
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise ToolFailed(f"cannot create the MLflow store {database}: {error}", "free some space there") from error


def open_experiment(client: MlflowClient, name: str) -> str:
    """The id of an experiment, which is created if missing.

    Raises:
        BadInput: the experiment was deleted; MLflow does not free its name.
    """
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        # A server chooses its own root; for SQLite it must be given, or the URI becomes absolute.
        root = f"{ARTIFACT_SCHEME}/{name}" if local_database(tracking_uri()) else None
        try:
            return client.create_experiment(name, root)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return open_experiment(client, name)  # another process created it meanwhile
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
