"""A version and a reason -> another champion: manual promotion, checked or forced, and rollback."""

from __future__ import annotations

from dataclasses import replace

from deepfake_detector.config import Register
from deepfake_detector.errors import BadInput, ModelNotFound, PromotionRefused
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.registry.alias_history import (
    CHAMPION,
    AliasChange,
    apply_change,
    plan_change,
    read_earlier_champions,
    recover,
    with_champion,
    with_rollback,
)
from deepfake_detector.registry.decisions import (
    Rescorer,
    StoredDecision,
    current_decision,
    evaluated_version,
    make_decision,
    write_decision,
)
from deepfake_detector.registry.export import fetch_bundle
from deepfake_detector.registry.gate import check_floors
from deepfake_detector.registry.lock import registry_lock
from deepfake_detector.registry.model_registry import ModelVersion, RegistrySnapshot, read_registry
from deepfake_detector.tracking.lineage import actor
from deepfake_detector.tracking.store import open_client

OVERRULE = "`--force` overrules the gate; the history keeps your `--why`"


def promote(wanted: str, reason: str, force: bool, settings: Register, rescorer: Rescorer) -> RegistrySnapshot:
    """Make a version champion, if the gate agrees or is overruled.

    Args:
        wanted: version number, with or without a v, or an alias such as `challenger`.
        reason: for the history.
        force: overrule the gate; a bundle that is not what was registered is refused all the same.
        settings: params.yaml's `register`.
        rescorer: measures latency, and scores bundles on the test pictures of this checkout.

    Raises:
        BadInput: no reason, or the version is the champion already.
        ModelNotFound: no such version.
        BundleCorrupt: its bundle is not what was registered, or this code cannot read it.
        PromotionRefused: the gate refuses it.
        ConcurrentChange: another process changed the champion meanwhile.
    """
    snapshot = _read_recovered(settings.model_name, reason)
    version = _find_version(snapshot, wanted)
    if snapshot.aliases.get(CHAMPION) == version.number:
        raise BadInput(f"version {version.number} is the champion already", "`deepfake runs` shows all versions")
    with fetch_bundle(version) as bundle:
        decision = _decision(snapshot, version, bundle, settings, rescorer)
    if not decision.promoted and not force:
        raise PromotionRefused(f"version {version.number}: {decision.summary}", OVERRULE)
    change = plan_change(snapshot.history, snapshot.aliases, snapshot.newest, actor(), reason)
    change = with_champion(change, version.number, "promote", forced=not decision.promoted)
    return _apply(settings.model_name, change)


def roll_back(reason: str, force: bool, settings: Register) -> RegistrySnapshot:
    """Make the champion before the present one champion again; a second rollback goes back one more.

    It is not compared with its successor, to which it lost once; but it must pass the floors of the present settings.

    Args:
        reason: for the history.
        force: overrule the floors.
        settings: params.yaml's `register`.

    Raises:
        BadInput: no reason.
        ModelNotFound: there is no earlier champion.
        BundleCorrupt: its bundle is not what was registered, or this code cannot read it.
        PromotionRefused: it fails a floor.
        ConcurrentChange: another process changed the champion meanwhile.
    """
    snapshot = _read_recovered(settings.model_name, reason)
    versions = {version.number: version for version in snapshot.versions}
    earlier = [n for n in read_earlier_champions(snapshot.history, snapshot.aliases) if n in versions]
    if not earlier:
        raise ModelNotFound(
            "no earlier champion to go back to", "`deepfake promote VERSION --why ...` takes any version"
        )
    version = versions[earlier[-1]]
    with fetch_bundle(version) as bundle:
        findings = check_floors(evaluated_version(version, bundle).facts, settings)
    failed = [finding.text for finding in findings if not finding.passed]
    if failed and not force:
        raise PromotionRefused(f"version {version.number}, the previous champion: {'; '.join(failed)}", OVERRULE)
    change = plan_change(snapshot.history, snapshot.aliases, snapshot.newest, actor(), reason)
    return _apply(settings.model_name, with_rollback(change, version.number, forced=bool(failed)))


def _read_recovered(name: str, reason: str) -> RegistrySnapshot:
    """The registry, after a pending change of a crashed process was completed or discarded."""
    if not reason.strip():
        raise BadInput("no reason given", "give one with --why: the history keeps it")
    if not read_registry(name).versions:
        raise ModelNotFound(f"no registered model {name}", "run `make repro`, or set MLFLOW_TRACKING_URI")
    client = open_client()
    with registry_lock(client, name):
        recover(client, name)
    return read_registry(name)


def _find_version(snapshot: RegistrySnapshot, wanted: str) -> ModelVersion:
    number = wanted.removeprefix("v")
    found = snapshot.version_of(wanted) or next((v for v in snapshot.versions if v.number == number), None)
    if found is None:
        numbers = ", ".join(v.number for v in snapshot.versions)
        raise ModelNotFound(
            f"no version or alias {wanted!r}", f"there are versions {numbers}; `deepfake runs` shows them"
        )
    return found


def _decision(
    snapshot: RegistrySnapshot, version: ModelVersion, bundle: Bundle, settings: Register, rescorer: Rescorer
) -> StoredDecision:
    """The stored decision if it still applies; else the gate decides again."""
    stored = current_decision(snapshot, version, settings)
    if stored is not None:
        return stored
    candidate, champion = evaluated_version(version, bundle), snapshot.version_of(CHAMPION)
    decision = replace(make_decision(candidate, bundle, champion, settings, rescorer), done=True)
    write_decision(open_client(), settings.model_name, version, decision)
    return decision


def _apply(name: str, change: AliasChange) -> RegistrySnapshot:
    client = open_client()
    with registry_lock(client, name) as lock:
        apply_change(client, name, change, lock)
    return read_registry(name)
