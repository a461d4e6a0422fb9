"""What is known of a model: from its reports, from the tag of its version, or from its contract alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.registry.gate import facts_of, failed_checks, number, read_facts

JUDGED = {
    "test": {"accuracy": {"value": 0.9, "low": 0.8}, "ece": {"value": 0.04}},
    "grid": {"all": {"accuracy": {"value": 0.7}}},
}
CHECKED = {
    "checks": [
        {"name": "columns", "passed": True, "severity": "stop"},
        {"name": "copies", "passed": False, "severity": "stop"},
        {"name": "brightness", "passed": False, "severity": "warn"},
    ],
    "probes": [{"name": "metadata", "passed": False, "severity": "stop"}],
}


@pytest.fixture
def bundle(tmp_path: Path, tiny: Any) -> Any:
    return tiny.write_bundle(tmp_path / "bundle", test_metrics={"accuracy": 0.6, "ece": 0.2})


def test_reports_and_bundle(bundle: Any) -> None:
    facts = facts_of(bundle, JUDGED, CHECKED, 4.0)
    assert (facts.accuracy, facts.ece, facts.robust_accuracy, facts.latency_ms) == (0.9, 0.04, 0.7, 4.0)
    assert facts.failed_checks == ("copies", "metadata")
    assert facts.contract["side_px"] == bundle.contract.side_px
    assert facts.size_mib * 2**20 == sum(path.stat().st_size for path in bundle.path.iterdir())


def test_they_come_back_from_a_tag_as_they_were(bundle: Any) -> None:
    facts = facts_of(bundle, JUDGED, CHECKED)
    again = read_facts(facts.as_json(), bundle)
    assert again == facts
    assert read_facts(facts_of(bundle, {}, None).as_json(), bundle).failed_checks is None


def test_without_a_tag_the_contract_speaks(bundle: Any) -> None:
    facts = read_facts(None, bundle)
    assert (facts.accuracy, facts.ece, facts.robust_accuracy, facts.failed_checks) == (0.6, 0.2, None, None)


def test_only_what_should_have_stopped_the_road_counts() -> None:
    assert failed_checks(CHECKED) == ("copies", "metadata")
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
def test_numbers_bare_or_with_an_interval_or_absent(report: dict[str, Any], found: float | None) -> None:
    assert number(report, "a", "b") == found
