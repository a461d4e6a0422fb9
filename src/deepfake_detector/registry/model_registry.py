"""Model name -> its registered versions and aliases; a SQLite store of a known schema is read without MLflow.

Importing MLflow takes 5 s, a read-only query 1 ms, and every `dvc repro` checks whether there is anything to register.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from deepfake_detector.registry.alias_history import AliasChange, changed_outside, manual_change, settled_state
from deepfake_detector.tracking.store import (
    connect_readonly,
    open_client,
    read_store,
)

MAX_VERSIONS = 10_000  # that one request to a server may return


@dataclass(frozen=True)
class ModelVersion:
    """One version of the registered model."""

    number: str
    run_id: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class RegistrySnapshot:
    """All versions of one registered model, its aliases and their history, at one moment."""

    versions: tuple[ModelVersion, ...] = ()  # oldest first
    aliases: Mapping[str, str] = field(default_factory=dict)  # alias -> version number
    history: tuple[AliasChange, ...] = ()  # oldest first

    @property
    def newest(self) -> int:
        """The highest version number; 0 without versions."""
        return max((int(v.number) for v in self.versions), default=0)

    @property
    def newest_at_manual_change(self) -> int:
        """The highest version number when the present champion was chosen manually; 0 if the gate chose it."""
        if changed_outside(self.history, self.aliases):
            return self.newest
        change = manual_change(self.history, self.aliases)
        return change.newest_version if change else 0

    def version_of(self, alias: str) -> ModelVersion | None:
        """The version that an alias names, for example `champion`."""
        number = self.aliases.get(alias)
        return next((v for v in self.versions if v.number == number), None)

    def find(self, **tags: str) -> ModelVersion | None:
        """The newest version that carries all these tags."""
        return next((v for v in reversed(self.versions) if tags.items() <= dict(v.tags).items()), None)


def read_registry(model_name: str) -> RegistrySnapshot:
    """Read the registry; without store or registered model the snapshot is empty.

    Raises:
        ToolFailed: the store does not answer.
    """
    return read_store(
        lambda file: read_registry_file(file, model_name), lambda: _read_by_client(model_name), RegistrySnapshot()
    )


def read_registry_file(database: Path, model_name: str) -> RegistrySnapshot:
    """Read the registry from a store's SQLite file, whose schema is one of READABLE_SCHEMAS.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    with closing(connect_readonly(database)) as connection:
        connection.execute("BEGIN")  # one transaction, so that all answers are of one moment
        tags: dict[int, dict[str, str]] = {}
        for number, key, value in connection.execute(
            "SELECT version, key, value FROM model_version_tags WHERE name = ?", (model_name,)
        ):
            tags.setdefault(number, {})[key] = value
        versions = connection.execute(
            "SELECT version, run_id FROM model_versions WHERE name = ? AND current_stage != 'Deleted_Internal'"
            " ORDER BY version",
            (model_name,),
        ).fetchall()
        aliases = connection.execute(
            "SELECT alias, version FROM registered_model_aliases WHERE name = ?", (model_name,)
        ).fetchall()
        select = "SELECT key, value FROM registered_model_tags WHERE name = ?"
        model_tags = dict(connection.execute(select, (model_name,)))
    found = [ModelVersion(str(number), run_id or "", tags.get(number, {})) for number, run_id in versions]
    return _snapshot(found, dict(aliases), model_tags)


def _read_by_client(model_name: str) -> RegistrySnapshot:
    from mlflow.exceptions import MlflowException

    client = open_client()
    try:
        model = client.get_registered_model(model_name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return RegistrySnapshot()
        raise
    # A search returns no tags on some servers, so each version is requested by itself.
    found = client.search_model_versions(f"name = '{model_name}'", max_results=MAX_VERSIONS)
    numbers = sorted(int(v.version) for v in found)
    versions = (client.get_model_version(model_name, str(number)) for number in numbers)
    return _snapshot(
        [ModelVersion(str(v.version), v.run_id or "", dict(v.tags)) for v in versions], model.aliases, model.tags
    )


def _snapshot(
    versions: Iterable[ModelVersion], aliases: Mapping[str, int | str], tags: Mapping[str, str]
) -> RegistrySnapshot:
    history, settled = settled_state(tags, {alias: str(number) for alias, number in aliases.items()})
    return RegistrySnapshot(tuple(versions), settled, history)
