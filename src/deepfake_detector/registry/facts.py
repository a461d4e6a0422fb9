"""Reports and bundle of one model -> what the gate must know of it besides its scores, as JSON too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from deepfake_detector.model.bundle import Bundle, Contract

INTERFACE = ("format_version", "side_px", "alignment", "crop_scale", "min_face_px", "kinds")


@dataclass(frozen=True)
class Facts:
    """Figures of one model; None where nobody measured."""

    bundle_sha256: str
    trained_on: str  # photographs | drawn sample
    contract: Mapping[str, Any]  # what services and callers rely on
    accuracy: float | None  # 0..1, at p_fake >= 0.5, on the test pictures
    ece: float | None  # calibration error on them
    robust_accuracy: float | None  # 0..1, mean over the robustness grid
    size_mib: float  # of the bundle's files
    latency_ms: float | None  # one crop, in the engine that serves
    failed_checks: tuple[str, ...] | None  # data checks of severity `stop`
    trouble: str = ""  # why the engine that serves cannot use it

    def as_json(self) -> str:
        """For a tag of the version."""
        return json.dumps(asdict(self), sort_keys=True)


def facts_of(
    bundle: Bundle, judged: Mapping[str, Any], checked: Mapping[str, Any] | None, latency_ms: float | None = None
) -> Facts:
    """Collect them.

    Args:
        bundle: sealed.
        judged: reports/evaluate.json; nothing of it must be there.
        checked: reports/validate.json, or None.
        latency_ms: of one crop, if measured.
    """
    test = judged.get("test") or bundle.contract.test_metrics
    return Facts(
        bundle_sha256=bundle.sha256,
        trained_on=bundle.contract.trained_on,
        contract=interface(bundle.contract),
        accuracy=number(test, "accuracy"),
        ece=number(test, "ece"),
        robust_accuracy=number(judged, "grid", "all", "accuracy"),
        size_mib=sum(path.stat().st_size for path in bundle.path.iterdir()) / 2**20,
        latency_ms=latency_ms,
        failed_checks=None if checked is None else failed_checks(checked),
    )


def read_facts(tag: str | None, bundle: Bundle) -> Facts:
    """A version's facts; one that was registered before they were kept is known by its contract alone."""
    if not tag:
        return facts_of(bundle, {}, None)
    content = json.loads(tag)
    checks = content["failed_checks"]
    return Facts(**(content | {"failed_checks": None if checks is None else tuple(checks)}))


def interface(contract: Contract) -> dict[str, Any]:
    """What a service or a caller relies on, as JSON has it."""
    whole = contract.model_dump(mode="json")
    return {name: whole[name] for name in INTERFACE}


def failed_checks(checked: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the checks and probes that should have stopped the road."""
    entries: Sequence[Mapping[str, Any]] = [*checked.get("checks", ()), *checked.get("probes", ())]
    return tuple(str(e["name"]) for e in entries if not e["passed"] and e["severity"] == "stop")


def number(report: Mapping[str, Any], *path: str) -> float | None:
    """A figure at a path of names, bare or as {"value": ...}; None where there is none."""
    found: Any = report
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    found = found.get("value") if isinstance(found, Mapping) else found
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
