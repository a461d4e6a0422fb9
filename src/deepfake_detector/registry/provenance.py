"""One bundle -> where it came from: code, data, training and decision, by its contract and the registry; as text too.

MLflow is not imported: a local store is read as a file, and a server is not asked.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from deepfake_detector.errors import ToolFailed
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.registry.decisions import read_decision
from deepfake_detector.registry.model_registry import ModelVersion, RegistrySnapshot, read_registry_file
from deepfake_detector.tracking.lineage import DRIFT_TAG, FEEDBACK_TAG, NO_COMMIT, NOT_GIT
from deepfake_detector.tracking.runs import RESTORED_TAG
from deepfake_detector.tracking.store import (
    OWN_PREFIX,
    READABLE_SCHEMAS,
    SQLITE_PREFIX,
    connect_readonly,
    local_database,
    schema_version,
)

WIDTH = 12  # of the first column, as in the rest of `deepfake about`
DIGESTS = ("bundle_sha256", "weights_sha256", "params_sha256", "dvc_lock_sha256", "test_digest")
CODE = ("git_commit", "git_branch", "git_dirty")


def read_provenance(bundle: Bundle, root: Path) -> dict[str, Any]:
    """Everything that is known of where a bundle came from.

    Args:
        bundle: any bundle.
        root: the checkout; its mlflow.db is read unless MLFLOW_TRACKING_URI names another store.

    Returns:
        `registry` ("" if the bundle is registered, else why it was not found there), `model`, `version`, `aliases`,
        `run_id`, `trained_by`, `restored`, `code`, `data`, `feedback`, `drift_report`, `dvc`, `digests`, `libraries`,
        `decision`, `alias_changes`, and `steps`: the commands that restore code and data. Unknown items are left out.
    """
    contract = bundle.contract
    known: dict[str, Any] = {
        "run_id": contract.run_id,
        "data": dict(contract.data_sha256),
        "digests": {"bundle_sha256": bundle.sha256, "weights_sha256": contract.weights_sha256},
    }
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE_PREFIX}{root / 'mlflow.db'}"
    database = local_database(uri)
    if database is None:
        return known | {"registry": f"{uri} is a server and was not asked; see its pages"}
    if database.exists() and not _is_readable(database):
        return known | {"registry": f"{database} is broken or of another version of MLflow: `make mlflow` says which"}
    found = _find_version(database, bundle.sha256)
    if found is None:
        return known | {"registry": f"not registered in {database}"}
    return known | _describe_version(database, *found)


def format_provenance(origin: Mapping[str, Any]) -> str:
    """The same as text: one line per item, the commands that restore it last."""
    registered = "version" in origin
    aliases = f" ({', '.join(origin['aliases'])})" if registered and origin["aliases"] else ""
    by = f" by {origin['trained_by']}" if origin.get("trained_by") else ""
    lines = [
        ("version", f"{origin['version']} of {origin['model']}{aliases}" if registered else origin["registry"]),
    ]
    if origin["run_id"]:
        lines.append(("run", f"{origin['run_id']}{by}{', restored' if origin.get('restored') else ''}"))
    code = origin.get("code", {})
    if code:
        dirty = " with uncommitted changes" if code.get("git_dirty") == "true" else ""
        lines.append(("code", f"{code['git_commit']}{dirty}"))
    lines += [("data", f"{source} sha256 {digest}") for source, digest in sorted(origin["data"].items())]
    lines += [
        ("feedback", f"{source} sha256 {digest}") for source, digest in sorted(origin.get("feedback", {}).items())
    ]
    lines += [("drift", origin["drift_report"])] if origin.get("drift_report") else []
    lines += [("digest", f"{name} {digest}") for name, digest in sorted(origin["digests"].items())]
    lines += [("decision", reason) for reason in origin.get("decision", {}).get("reasons", ())]
    lines += [("history", change) for change in origin.get("alias_changes", ())]
    lines += [("restore", step) for step in origin.get("steps", ())]
    return "\n".join(f"{name:{WIDTH}}{text}" for name, text in lines)


def _is_readable(database: Path) -> bool:
    try:
        return schema_version(database) in READABLE_SCHEMAS
    except ToolFailed:
        return False


def _find_version(database: Path, bundle_sha256: str) -> tuple[RegistrySnapshot, ModelVersion, str] | None:
    """Snapshot, newest version and model name of this bundle, whatever its registered model is called."""
    if not database.exists():
        return None
    select = "SELECT DISTINCT name FROM model_version_tags WHERE key = 'bundle_sha256' AND value = ?"
    try:
        with closing(connect_readonly(database)) as connection:
            names = [str(name) for (name,) in connection.execute(select, (bundle_sha256,))]
        snapshots = [(read_registry_file(database, name), name) for name in names]
    except sqlite3.Error:  # for example locked
        return None
    found = [(snapshot, snapshot.find(bundle_sha256=bundle_sha256), name) for snapshot, name in snapshots]
    return next(((snapshot, version, name) for snapshot, version, name in found if version is not None), None)


def _describe_version(database: Path, snapshot: RegistrySnapshot, version: ModelVersion, name: str) -> dict[str, Any]:
    tags, decision = dict(version.tags), read_decision(version)
    return {
        "registry": "",
        "model": name,
        "version": version.number,
        "aliases": sorted(alias for alias, number in snapshot.aliases.items() if number == version.number),
        "run_id": version.run_id,
        "trained_by": tags.get("actor", ""),
        # Older versions name the run that the store lost.
        "restored": RESTORED_TAG in tags or version.run_id != tags.get("trained_by_run", version.run_id),
        "code": {key: tags[key] for key in CODE if key in tags},
        "data": _with_prefix(tags, "data_sha256:"),
        "feedback": _with_prefix(tags, FEEDBACK_TAG),
        "drift_report": tags.get(DRIFT_TAG, ""),
        "dvc": _with_prefix(tags, "dvc:"),
        "digests": {key: tags[key] for key in DIGESTS if key in tags},
        "libraries": _with_prefix(tags, "version:"),
        "decision": {"promoted": decision.promoted, "reasons": decision.reasons} if decision else {},
        "alias_changes": [str(each) for each in snapshot.history if version.number in (each.champion, each.before)],
        "steps": _restore_steps(database, version, tags),
    }


def _with_prefix(tags: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {key.removeprefix(prefix): value for key, value in tags.items() if key.startswith(prefix)}


def _restore_steps(database: Path, version: ModelVersion, tags: Mapping[str, str]) -> list[str]:
    """Commands that restore the code, settings and data of the training."""
    commit, lineage = tags.get("git_commit", NOT_GIT), tags.get("lineage_path", "")
    known = commit not in (NOT_GIT, NO_COMMIT)
    steps = [f"git checkout {commit}" if known else f"(no commit is known: {commit})"]
    if lineage:
        steps.append(f"export MLFLOW_TRACKING_URI={OWN_PREFIX}{database}")
        steps.append(f"mlflow artifacts download --run-id {version.run_id} --artifact-path {lineage} --dst-path .")
        steps.append(f"cp {lineage}/dvc.lock {lineage}/params.yaml .")
    return [*steps, "dvc pull", "dvc repro"]
