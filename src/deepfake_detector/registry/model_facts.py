"""Reports and bundle of one model -> the facts that the gate checks, and their JSON for a tag of the version."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from deepfake_detector.evaluation.prediction_table import PredictionTable
from deepfake_detector.model.bundle import Bundle, Contract

CONTRACT_FIELDS = ("format_version", "side_px", "alignment", "crop_scale", "min_face_px", "kinds")
NOT_STORED = ("engine_error", "trouble")  # depends on the machine that decides; older versions stored it as `trouble`


@dataclass(frozen=True)
class ModelFacts:
    """What was measured of one model; None where nothing was."""

    bundle_sha256: str
    trained_on: str  # photographs | drawn sample
    contract: Mapping[str, Any]  # CONTRACT_FIELDS and their values
    accuracy: float | None  # 0..1, at p_fake >= 0.5, on the test pictures
    ece: float | None  # expected calibration error on the test pictures, 0..1
    robust_accuracy: float | None  # 0..1, mean over the corruption grid
    size_mib: float  # of the bundle's files
    latency_ms: float | None  # processor time of one crop in the serving engine
    failed_checks: tuple[str, ...] | None  # names of failed data checks of severity `stop`
    quick_evaluation: bool = False  # measured on samples too small to decide on (`evaluate.quick`)
    engine_error: str = ""  # why the serving engine cannot run the bundle; "" if it can
    left_out_auc: float | None = None  # mean over the sources that were never trained on
    coverage: float | None = None  # share of the test pictures that is answered "fake" or "real"

    def to_json(self) -> str:
        """JSON for a tag of the version; `facts_from_tag` reads it."""
        stored = {name: value for name, value in asdict(self).items() if name not in NOT_STORED}
        return json.dumps(stored, sort_keys=True)


class EvaluatedModel(NamedTuple):
    """One model as the gate sees it."""

    facts: ModelFacts
    scores: PredictionTable


def collect_facts(
    bundle: Bundle, evaluation: Mapping[str, Any], validation: Mapping[str, Any] | None, latency_ms: float | None = None
) -> ModelFacts:
    """Read the facts from the reports.

    Args:
        bundle: the sealed bundle.
        evaluation: reports/evaluate.json; without test metrics those of the bundle's contract count.
        validation: reports/validate.json, or None if there is none.
        latency_ms: of one crop, if measured.
    """
    test = evaluation.get("test") or bundle.contract.test_metrics
    return ModelFacts(
        bundle_sha256=bundle.sha256,
        trained_on=bundle.contract.trained_on,
        contract=contract_interface(bundle.contract),
        accuracy=metric_at(test, "accuracy"),
        ece=metric_at(test, "ece"),
        robust_accuracy=metric_at(evaluation, "grid", "all", "accuracy"),
        size_mib=sum(path.stat().st_size for path in bundle.path.iterdir()) / 2**20,
        latency_ms=latency_ms,
        failed_checks=None if validation is None else failed_checks(validation),
        quick_evaluation=bool(evaluation.get("quick", False)),
        left_out_auc=metric_at(evaluation, "left_out", "auc"),
        coverage=metric_at(evaluation, "at_thresholds", "coverage"),
    )


def facts_from_tag(tag: str | None, bundle: Bundle) -> ModelFacts:
    """Read a version's `facts` tag; a version without one is known by its bundle's contract alone."""
    if not tag:
        return collect_facts(bundle, {}, None)
    stored = {name: value for name, value in json.loads(tag).items() if name not in NOT_STORED}
    checks = stored.pop("failed_checks")
    return ModelFacts(**stored, failed_checks=None if checks is None else tuple(checks))


def contract_interface(contract: Contract) -> dict[str, Any]:
    """The fields of a contract that services and callers rely on, as JSON values."""
    whole = contract.model_dump(mode="json")
    return {name: whole[name] for name in CONTRACT_FIELDS}


def failed_checks(validation: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the failed checks and probes of severity `stop` in reports/validate.json."""
    entries: Sequence[Mapping[str, Any]] = [*validation.get("checks", ()), *validation.get("probes", ())]
    return tuple(str(e["name"]) for e in entries if not e["passed"] and e["severity"] == "stop")


def metric_at(report: Mapping[str, Any], *path: str) -> float | None:
    """The number at a path of keys, bare or as {"value": ...}; None where there is none."""
    found: Any = report
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    found = found.get("value") if isinstance(found, Mapping) else found
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
