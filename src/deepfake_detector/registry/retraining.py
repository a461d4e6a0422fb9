"""Drift report, data and registry -> whether there is a reason to train again; the report -> the champion's artifacts.

Drift alone is no reason: without new labels a training would give the same model, and labels that the old model makes
up would teach it its own errors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from deepfake_detector.errors import ModelNotFound, ToolFailed
from deepfake_detector.io import read_json
from deepfake_detector.paths import Workspace
from deepfake_detector.registry.model_registry import ModelVersion
from deepfake_detector.tracking.store import open_client

DRIFT_JSON = "drift.json"  # what `deepfake drift --json` prints; the page lies beside it
ARTIFACTS, DRIFT_PREFIX, DATA_PREFIX = "drift", "drift:", "data_sha256:"  # folder of artifacts; prefixes of tags


@dataclass(frozen=True)
class DriftFound:
    """One drift report.

    Attributes:
        name: drift-DATE-DIGEST, which is also its folder among the artifacts.
        drifted: whether the tool found drift.
        verdict: in words.
        summary: sentences.
    """

    name: str
    drifted: bool
    verdict: str
    summary: tuple[str, ...]


@dataclass(frozen=True)
class RetrainingDecision:
    """Whether to train, and why.

    Attributes:
        reasons: sentences; none: nothing is trained.
        champion: number of its version; "" if there is none.
        drift: the report; None if there were no logs.
    """

    reasons: tuple[str, ...]
    champion: str
    drift: DriftFound | None

    @property
    def train(self) -> bool:
        """Whether there is a reason."""
        return bool(self.reasons)

    def as_dict(self) -> dict[str, Any]:
        """Content of reports/retraining.json."""
        return asdict(self) | {"train": self.train}

    def as_markdown(self) -> str:
        """For the issue: what the drift report says, then what follows from it."""
        lines = ["## Drift", "", *_drift_lines(self.drift, self.champion), "", "## Reasons to train", ""]
        lines += [f"- {reason}" for reason in self.reasons]
        if not self.train:
            lines.append("None: the data are those that the champion was trained on, so nothing was trained.")
            if self.drift is not None and self.drift.drifted:
                lines.append("Drift alone is no reason. Label some of the new pictures: docs/feedback.md says how.")
        return "\n".join(lines)


def _drift_lines(drift: DriftFound | None, champion: str) -> list[str]:
    if drift is None:
        return ["No prediction logs were given, so drift was not measured (docs/shared-use.md)."]
    kept = f"; the page is an artifact of version {champion}" if champion else ""
    return [f"`{drift.name}`: {drift.verdict}{kept}.", "", *(f"- {sentence}" for sentence in drift.summary)]


def read_drift(folder: Path, today: date) -> DriftFound | None:
    """Read what `deepfake drift` wrote; None if there is no report.

    Args:
        folder: with DRIFT_JSON.
        today: for the name.

    Raises:
        ToolFailed: the file is incomplete.
    """
    path = folder / DRIFT_JSON
    if not path.is_file() or not path.stat().st_size:
        return None
    content = read_json(path, "run `deepfake drift` again")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    summary = tuple(str(sentence) for sentence in content.get("summary", ()))
    name = f"drift-{today.isoformat()}-{digest}"
    return DriftFound(name, bool(content["drifted"]), str(content["verdict"]), summary)


def trained_data(workspace: Workspace) -> dict[str, str]:
    """Source that is trained on -> SHA-256 of its archive, as `download` fetched it.

    Raises:
        ToolFailed: reports/download.json is missing or incomplete.
    """
    path, hint = workspace.report("download"), "run `dvc repro download`"
    if not path.is_file():
        raise ToolFailed(f"no report {path}", hint)
    sources = read_json(path, hint)["sources"]
    return {source["name"]: source["sha256"] for source in sources if source.get("use", "train") == "train"}


def decide_retraining(
    data: Mapping[str, str],
    feedback: Collection[str],
    champion: ModelVersion | None,
    drift: DriftFound | None,
    requested: str = "",
) -> RetrainingDecision:
    """Look for a reason to train; pure.

    Args:
        data: source that is trained on -> SHA-256 of its archive, now.
        feedback: those that hold feedback which a person accepted.
        champion: its tags name the data it was trained on; None: there is none.
        drift: the report, which is named and is no reason.
        requested: settings that a person asked for; "": nobody did.
    """
    reasons = [f"a person asked for it, with {requested}"] if requested else []
    if champion is None:
        return RetrainingDecision((*reasons, "there is no champion yet"), "", drift)
    known = {k.removeprefix(DATA_PREFIX): v for k, v in champion.tags.items() if k.startswith(DATA_PREFIX)}
    for source, digest in sorted(data.items()):
        if known.get(source) != digest:
            what = "accepted feedback" if source in feedback else "new data" if source not in known else "other data"
            reasons.append(f"{what}: source `{source}` (SHA-256 {digest[:12]}); the champion does not know it")
    reasons += [f"source `{source}` is not trained on any more" for source in sorted(set(known) - set(data))]
    return RetrainingDecision(tuple(reasons), champion.number, drift)


def keep_drift_report(folder: Path, drift: DriftFound, champion: ModelVersion, model_name: str) -> str:
    """Store a drift report as artifacts of the run of the champion's version, and name it in a tag of the version.

    Args:
        folder: of the report; all its files are stored.
        drift: what it found.
        champion: the version that served when the logs were written.
        model_name: of the registered model.

    Returns:
        The artifacts' folder, relative to those of the run.

    Raises:
        ModelNotFound: the store knows no run of the version.
        ToolFailed: the store does not answer.
    """
    if not champion.run_id:
        raise ModelNotFound(f"version {champion.number} of {model_name} has no run", "register a new version")
    client, path = open_client(), f"{ARTIFACTS}/{drift.name}"
    for file in sorted(folder.iterdir()):
        if file.is_file():
            client.log_artifact(champion.run_id, str(file), path)
    client.set_model_version_tag(model_name, champion.number, f"{DRIFT_PREFIX}{drift.name}", drift.verdict)
    return path
