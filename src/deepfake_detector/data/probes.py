"""How much each shortcut tells, by its AUC -> probes: passed or not, with a sentence that says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deepfake_detector.data.auc import Auc
from deepfake_detector.settings import Severity, Validate

_TELLING = 0.60  # a border that reaches less tells next to nothing, however good it is beside the centre


@dataclass(frozen=True)
class Probe:
    """What one shortcut is worth.

    Attributes:
        name: metadata | thumbnail | border | centre; with several sources followed by which, as in `border (kaggle)`.
        auc, low, high: of the shortcut alone, with its 95 % interval; None if it was not measured.
        threshold: the alarm is raised if `low` lies above it; None if there is nothing to be alarmed about.
        severity: `stop` ends the road, `warn` is written down.
        reason: what was found and what it means, one sentence.
        images: how many pictures it was measured on.
    """

    name: str
    auc: float | None
    low: float | None
    high: float | None
    threshold: float | None
    severity: Severity
    passed: bool
    reason: str
    images: int


def judge(scope: str, found: Mapping[str, Auc], lack: str, images: int, settings: Validate) -> list[Probe]:
    """What was found -> the four probes, measured or not.

    Args:
        scope: added to their names.
        found: AUC by name; empty if nothing was measured.
        lack: then, why not.
        images: how many pictures there were.
        settings: thresholds and severities.
    """
    chosen = settings.severity
    # Two uncertain figures are compared, so the border must lie above the centre's HIGH end.
    above_centre = min(1.0, max(_TELLING, found["centre"].high + settings.max_border_gap)) if found else None
    told: tuple[tuple[str, str, float | None, Severity], ...] = (
        ("metadata", "size and encoding of the file", settings.max_metadata_auc, chosen["metadata"]),
        ("thumbnail", "a grey thumbnail of 32x32 pixels", settings.max_thumbnail_auc, chosen["thumbnail"]),
        ("border", "the thumbnail's border, where no face is,", above_centre, chosen["border"]),
        ("centre", "the thumbnail's centre, without what is behind the face,", None, "warn"),
    )
    probes = []
    for name, what, threshold, severity in told:
        auc = found.get(name)
        if auc is None:
            reason = f"not measured: {lack}"
            probes.append(Probe(name + scope, None, None, None, threshold, severity, True, reason, images))
            continue
        passed = threshold is None or auc.low <= threshold
        reason = f"{what} alone tells real from fake with AUC {auc}{_meaning(passed, threshold)}"
        probes.append(Probe(name + scope, auc.value, auc.low, auc.high, threshold, severity, passed, reason, images))
    return probes


def _meaning(passed: bool, threshold: float | None) -> str:
    if threshold is None:
        return "; for comparison"
    if passed:
        return f", not surely above {threshold:.3f}"
    return f", surely above {threshold:.3f}: a detector may learn this instead of the face"
