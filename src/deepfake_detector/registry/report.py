"""Registry snapshot and candidate -> the champion's bundle in models/champion, and reports/register.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepfake_detector.errors import ModelNotFound
from deepfake_detector.io import read_json, write_json
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.paths import Workspace
from deepfake_detector.registry.alias_history import CHAMPION, manual_change
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.decisions import find_version, read_decision
from deepfake_detector.registry.export import export_bundle
from deepfake_detector.registry.model_registry import ModelVersion, RegistrySnapshot

LAST_CHANGES = 10  # in the report; the store keeps all
NO_CHAMPION_HELP = "train longer or on more data (params.yaml `train`, `download`), or lower the limits in `register`"


def export_champion(snapshot: RegistrySnapshot, to: Path) -> Bundle | None:
    """Copy the champion's bundle to `to`, where `package` and `deepfake predict` look for it.

    Returns:
        The copy; None if there is no champion, because every candidate so far was refused.

    Raises:
        BundleCorrupt: the store has lost the champion's files, or they are not what was registered.
        BundleOutdated: it is, but this code does not read its format.
    """
    champion = snapshot.version_of(CHAMPION)
    return None if champion is None else export_bundle(champion, to)


def registration_report(
    snapshot: RegistrySnapshot, candidate: Candidate, champion: Bundle | None, root: Path
) -> dict[str, Any]:
    """Content of reports/register.json; it depends on registry and candidate alone."""
    version = find_version(snapshot, candidate)
    stored, decision = read_decision(version), dict[str, Any]()
    if stored is not None:
        findings = [asdict(finding) for finding in stored.findings]
        decision = {"promoted": stored.promoted, "reasons": stored.reasons, "findings": findings}
    return {"candidate": _entry(version), "decision": decision} | champion_report(snapshot, champion, root)


def registration_summary(report: Mapping[str, Any]) -> str:
    """Lines to print for a report: every finding, then the champion or what to do without one."""
    champion = report["champion"]
    result = f"champion: version {champion['version']}" if champion else f"no champion yet: {NO_CHAMPION_HELP}"
    return "\n".join([*report["decision"].get("reasons", ()), result])


def champion_report(snapshot: RegistrySnapshot, champion: Bundle | None, root: Path) -> dict[str, Any]:
    """The part of the report that `promote` and `rollback` change: champion (or None), aliases and their history."""
    change = manual_change(snapshot.history, snapshot.aliases)
    bundle = {} if champion is None else {"bundle": champion.path.relative_to(root).as_posix()}
    return {
        "champion": (_entry(snapshot.version_of(CHAMPION)) | bundle) or None,
        "aliases": dict(snapshot.aliases),
        "manual_change": str(change) if change else "",
        "alias_changes": [str(each) for each in snapshot.history[-LAST_CHANGES:]],
    }


def publish_champion(snapshot: RegistrySnapshot, workspace: Workspace) -> str:
    """Export a manually chosen champion and update the report, as the register stage would.

    Returns:
        The change in words, and the next step.

    Raises:
        ModelNotFound: there is no champion.
        BundleCorrupt: the store's copy is not what was registered.
    """
    champion = snapshot.version_of(CHAMPION)
    if champion is None:
        raise ModelNotFound("no champion", "`deepfake promote VERSION --why ...` makes one")
    bundle = export_bundle(champion, workspace.champion)
    path = workspace.report("register")
    report = read_json(path, "delete it: the register stage writes it again") if path.is_file() else {}
    kept = {key: report[key] for key in ("candidate", "decision") if key in report}
    write_json(path, kept | champion_report(snapshot, bundle, workspace.root))
    return f"{snapshot.history[-1]}\nnext: `python -m pipelines.package` builds its bento; docs/rolling-restart.md"


def _entry(version: ModelVersion | None) -> dict[str, str]:
    if version is None:
        return {}
    digests = {key: version.tags.get(key, "") for key in ("bundle_sha256", "weights_sha256")}
    return {"version": version.number, "run_id": version.run_id} | digests
