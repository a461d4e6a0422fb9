"""Shelf and candidate -> the champion in its folder, and what reports/register.json says about both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepfake_detector.errors import ModelNotFound
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.registry.candidate import Candidate
from deepfake_detector.registry.decisions import CHAMPION, find_version, read_decision
from deepfake_detector.registry.export import export_bundle
from deepfake_detector.registry.shelf import Shelf, Version


def export_champion(shelf: Shelf, candidate: Candidate, to: Path) -> Bundle:
    """Put the champion's bundle at `to`, where `package` and `deepfake predict` look for it.

    Raises:
        ModelNotFound: there is no champion, because the first candidate was refused.
        BundleCorrupt: the store's copy is not what was registered.
    """
    champion = shelf.at(CHAMPION)
    if champion is None:
        reasons = "; ".join(read_decision(find_version(shelf, candidate)).get("reasons", ()))
        raise ModelNotFound(
            f"no champion yet, and {candidate.name} does not become one: {reasons}",
            "train longer or on more data (params.yaml `train`, `download`), or lower register.min_accuracy",
        )
    return export_bundle(champion, to)


def summary(shelf: Shelf, candidate: Candidate, champion: Bundle, root: Path) -> dict[str, Any]:
    """The stage's report; the same registry and candidate give the same report, however often it runs."""
    version = find_version(shelf, candidate)
    decision = read_decision(version)
    return {
        "candidate": _entry(version),
        "champion": _entry(shelf.at(CHAMPION)) | {"bundle": champion.path.relative_to(root).as_posix()},
        "decision": {key: decision[key] for key in ("promoted", "reasons", "figures") if key in decision},
    }


def _entry(version: Version | None) -> dict[str, str]:
    if version is None:
        return {}
    digests = {key: version.tags.get(key, "") for key in ("bundle_sha256", "weights_sha256")}
    return {"version": version.number, "run_id": version.run_id} | digests
