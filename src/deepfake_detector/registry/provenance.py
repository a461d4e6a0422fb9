"""One bundle -> where it came from (code, data, training, decision), by its contract and the registry; in words too.

MLflow is not imported: a local store is read as the file it is, and a server is not asked.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from deepfake_detector.model.bundle import Bundle
from deepfake_detector.registry.decisions import read_decision
from deepfake_detector.registry.model_registry import Shelf, Version, query
from deepfake_detector.tracking.lineage import NO_COMMIT, NOT_GIT
from deepfake_detector.tracking.store import SQLITE, local_database

WIDTH = 12  # of the first column, as in the rest of `deepfake about`


def read_origin(bundle: Bundle, root: Path) -> dict[str, Any]:
    """Everything that is known of where a bundle came from.

    Args:
        bundle: whichever answers.
        root: the checkout; its mlflow.db is looked into unless MLFLOW_TRACKING_URI names another store.

    Returns:
        `registry` ("" if it is registered there, else why nothing is known from there), `version`, `aliases`, `run_id`,
        `trained_by`, `restored`, `code`, `data`, `digests`, `libraries`, `decision`, `moves`, and `steps`: the commands
        that bring code and data back. What is not known is left out.
    """
    contract = bundle.contract
    known: dict[str, Any] = {
        "run_id": contract.run_id,
        "data": dict(contract.data_sha256),
        "digests": {"bundle_sha256": bundle.sha256, "weights_sha256": contract.weights_sha256},
    }
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{root / 'mlflow.db'}"
    database = local_database(uri)
    if database is None:
        return known | {"registry": f"not asked: {uri} is a server; its pages tell the rest"}
    found = _version(database, bundle.sha256)
    if found is None:
        return known | {"registry": f"not registered in {database}"}
    return known | _of_version(*found)


def origin_words(origin: Mapping[str, Any]) -> str:
    """The same for people: one line each, the commands that bring it back last."""
    registered = "version" in origin
    aliases = f" ({', '.join(origin['aliases'])})" if registered and origin["aliases"] else ""
    by = f" by {origin['trained_by']}" if origin.get("trained_by") else ""
    lines = [
        ("version", f"{origin['version']} of {origin['model']}{aliases}" if registered else origin["registry"]),
        ("run", f"{origin['run_id']}{by}{', restored' if origin.get('restored') else ''}"),
    ]
    code = origin.get("code", {})
    if code:
        dirty = " with changes that no commit holds" if code.get("git_dirty") == "true" else ""
        lines.append(("code", f"{code['git_commit']}{dirty}"))
    lines += [("data", f"{source} sha256 {digest}") for source, digest in sorted(origin["data"].items())]
    lines += [("digest", f"{name} {digest}") for name, digest in sorted(origin["digests"].items())]
    lines += [("decision", reason) for reason in origin.get("decision", {}).get("reasons", ())]
    lines += [("move", str(move)) for move in origin.get("moves", ())]
    lines += [("again", step) for step in origin.get("steps", ())]
    return "\n".join(f"{name:{WIDTH}}{words}" for name, words in lines)


def _version(database: Path, bundle_sha256: str) -> tuple[Shelf, Version, str] | None:
    """The newest version of this very bundle, whatever the registered model is called."""
    if not database.exists():
        return None
    select = "SELECT DISTINCT name FROM model_version_tags WHERE key = 'bundle_sha256' AND value = ?"
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            names = [str(name) for (name,) in connection.execute(select, (bundle_sha256,))]
        shelves = [(query(database, name), name) for name in names]
    except sqlite3.Error:  # no store of ours, or of another MLflow
        return None
    found = [(shelf, shelf.find(bundle_sha256=bundle_sha256), name) for shelf, name in shelves]
    return next(((shelf, version, name) for shelf, version, name in found if version is not None), None)


def _of_version(shelf: Shelf, version: Version, name: str) -> dict[str, Any]:
    tags = dict(version.tags)
    digests = {key: tags[key] for key in ("bundle_sha256", "weights_sha256", "params_sha256", "dvc_lock_sha256",
                                          "test_digest") if key in tags}  # fmt: skip
    decision = read_decision(version)
    return {
        "registry": "",
        "model": name,
        "version": version.number,
        "aliases": sorted(alias for alias, number in shelf.aliases.items() if number == version.number),
        "run_id": version.run_id,
        "trained_by": tags.get("actor", ""),
        "restored": version.run_id != tags.get("trained_by_run", version.run_id),
        "code": {key: tags[key] for key in ("git_commit", "git_branch", "git_dirty") if key in tags},
        "data": {key.partition(":")[2]: value for key, value in tags.items() if key.startswith("data_sha256:")},
        "dvc": {key.partition(":")[2]: value for key, value in tags.items() if key.startswith("dvc:")},
        "digests": digests,
        "libraries": {key.partition(":")[2]: v for key, v in tags.items() if key.startswith("version:")},
        "decision": {key: decision[key] for key in ("promoted", "reasons") if key in decision},
        "moves": [str(m) for m in shelf.moves if version.number in (m.champion, m.before)],
        "steps": _steps(version, tags),
    }


def _steps(version: Version, tags: Mapping[str, str]) -> list[str]:
    """What to type to stand where it was trained."""
    commit, stood = tags.get("git_commit", NOT_GIT), tags.get("lineage_path", "")
    known = commit not in (NOT_GIT, NO_COMMIT)
    steps = [f"git checkout {commit}" if known else f"(its code is known by these tags alone: {commit})"]
    if stood:
        steps.append(f"mlflow artifacts download --run-id {version.run_id} --artifact-path {stood} --dst-path .")
        steps.append(f"cp {stood}/dvc.lock {stood}/params.yaml .")
    return [*steps, "dvc pull", "dvc repro"]
