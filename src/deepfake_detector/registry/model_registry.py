"""Model name -> its registered versions and aliases, read without MLflow where the store is a SQLite file.

Importing MLflow takes 5 s, a read-only query 1 ms, and every `dvc repro` asks whether there is anything to register.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from deepfake_detector.registry.alias_history import Move, hand, moved_outside, seen
from deepfake_detector.tracking.store import local_database, open_client, tracking_uri


@dataclass(frozen=True)
class Version:
    """One version of the registered model."""

    number: str
    run_id: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Shelf:
    """All versions of one registered model, oldest first, and which of them the aliases name."""

    versions: tuple[Version, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)  # alias -> version number
    moves: tuple[Move, ...] = ()  # of the aliases, oldest first

    @property
    def newest(self) -> int:
        """The highest version number; 0 for an empty shelf."""
        return max((int(v.number) for v in self.versions), default=0)

    @property
    def chosen_among(self) -> int:
        """The highest version that a person saw when they chose the present champion; 0 if the gate chose it."""
        if moved_outside(self.moves, self.aliases):
            return self.newest
        move = hand(self.moves, self.aliases)
        return move.known if move else 0

    def at(self, alias: str) -> Version | None:
        """The version that an alias names, for example `champion`."""
        number = self.aliases.get(alias)
        return next((v for v in self.versions if v.number == number), None)

    def find(self, **tags: str) -> Version | None:
        """The newest version that carries all these tags."""
        return next((v for v in reversed(self.versions) if tags.items() <= dict(v.tags).items()), None)


def read_shelf(model_name: str) -> Shelf:
    """Look at the registry without changing it; a store or model that does not exist yet is an empty shelf.

    Raises:
        ToolFailed: the store does not answer.
    """
    database = local_database(tracking_uri())
    if database is None:
        return _ask(model_name)
    if not database.exists():
        return Shelf()
    try:
        return query(database, model_name)
    except sqlite3.Error:  # another MLflow may lay its tables out differently; its own client then knows
        return _ask(model_name)


def query(database: Path, model_name: str) -> Shelf:
    """The same from a store's file.

    Raises:
        sqlite3.Error: it has other tables.
    """
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        connection.execute("BEGIN")  # all answers of one moment
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
        told = dict(connection.execute("SELECT key, value FROM registered_model_tags WHERE name = ?", (model_name,)))
    return _shelf(
        [Version(str(number), run_id or "", tags.get(number, {})) for number, run_id in versions], dict(aliases), told
    )


def _ask(model_name: str) -> Shelf:
    from mlflow.exceptions import MlflowException

    client = open_client()
    try:
        model = client.get_registered_model(model_name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return Shelf()
        raise
    # A search carries no tags on some servers, so each version is asked for itself.
    found = client.search_model_versions(f"name = '{model_name}'", max_results=10_000)
    numbers = sorted(int(v.version) for v in found)
    versions = (client.get_model_version(model_name, str(number)) for number in numbers)
    return _shelf([Version(str(v.version), v.run_id or "", dict(v.tags)) for v in versions], model.aliases, model.tags)


def _shelf(versions: Iterable[Version], aliases: Mapping[str, int | str], tags: Mapping[str, str]) -> Shelf:
    moves, settled = seen(tags, {alias: str(number) for alias, number in aliases.items()})
    return Shelf(tuple(versions), settled, moves)
