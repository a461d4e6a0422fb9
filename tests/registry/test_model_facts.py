"""Facts of a model: from its reports, from the tag of its version, or from its contract alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.model.bundle import Bundle
from deepfake_detector.registry.model_facts import collect_facts, facts_from_tag, failed_checks, metric_at

EVALUATION = {
    "test": {"accuracy": {"value": 0.9, "low": 0.8}, "ece": {"value": 0.04}},
    "grid": {"all": {"accuracy": {"value": 0.7}}},
}
VALIDATION = {
    "checks": [
        {"name": "columns", "passed": True, "severity": "stop"},
        {"name": "copies", "passed": False, "severity": "stop"},
        {"name": "brightness", "passed": False, "severity": "warn"},
    ],
    "probes": [{"name": "metadata", "passed": False, "severity": "stop"}],
}


@pytest.fixture
def bundle(tmp_path: Path, tiny: Any) -> Bundle:
    bundle: Bundle = tiny.write_bundle(tmp_path / "bundle", test_metrics={"accuracy": 0.6, "ece": 0.2})
    return bundle


def test_facts_come_from_reports_and_bundle(bundle: Bundle) -> None:
    facts = collect_facts(bundle, EVALUATION, VALIDATION, 4.0)
    assert (facts.accuracy, facts.ece, facts.robust_accuracy, facts.latency_ms) == (0.9, 0.04, 0.7, 4.0)
    assert facts.failed_checks == ("copies", "metadata")
    assert facts.contract["side_px"] == bundle.contract.side_px
    assert facts.size_mib * 2**20 == sum(path.stat().st_size for path in bundle.path.iterdir())


def test_facts_are_read_back_from_a_tag(bundle: Bundle) -> None:
    facts = collect_facts(bundle, EVALUATION, VALIDATION)
    assert facts_from_tag(facts.to_json(), bundle) == facts
    assert facts_from_tag(collect_facts(bundle, {}, None).to_json(), bundle).failed_checks is None


def test_the_tag_of_an_older_store_is_read(bundle: Bundle) -> None:
    facts = collect_facts(bundle, EVALUATION, VALIDATION)
    older = json.dumps(json.loads(facts.to_json()) | {"trouble": ""})
    assert facts_from_tag(older, bundle) == facts


def test_without_a_tag_the_facts_come_from_the_contract(bundle: Bundle) -> None:
    facts = facts_from_tag(None, bundle)
    assert (facts.accuracy, facts.ece, facts.robust_accuracy, facts.failed_checks) == (0.6, 0.2, None, None)


def test_only_failed_checks_of_severity_stop_count() -> None:
    assert failed_checks(VALIDATION) == ("copies", "metadata")
    assert failed_checks({}) == ()


@pytest.mark.parametrize(
    ("report", "found"),
    [
        ({"a": {"b": 0.5}}, 0.5),
        ({"a": {"b": {"value": 1}}}, 1.0),
        ({"a": 3}, None),
        ({}, None),
        ({"a": {"b": "x"}}, None),
    ],
)
def test_a_metric_is_bare_or_has_an_interval_or_is_absent(report: dict[str, Any], found: float | None) -> None:
    assert metric_at(report, "a", "b") == found
