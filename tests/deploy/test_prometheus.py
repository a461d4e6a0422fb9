"""deploy/prometheus, checked by promtool; the expressions of rules and dashboard, parsed; the rules' tests."""

from __future__ import annotations

import json
import subprocess
from collections import Counter

import promql_parser
import pytest

from tests.deploy.validators import DEPLOY, alert_rules, dashboard_queries, find_program, read_yaml

PROMETHEUS = DEPLOY / "prometheus"


def promtool(*arguments: str) -> str:
    """Output of a command that must succeed."""
    command = [find_program("promtool"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROMETHEUS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_the_rules_and_both_configurations() -> None:
    assert f"{len(alert_rules())} rules found" in promtool("check", "rules", "--lint-fatal", "alerts.yml")
    for name in ("prometheus.yml", "kubernetes.yml"):
        assert "is valid" in promtool("check", "config", "--syntax-only", name)


@pytest.mark.slow
def test_each_alert_fires_when_it_must_and_not_before() -> None:
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


def test_each_alert_is_tested_with_data_that_raise_it_and_data_that_do_not() -> None:
    raised, quiet = Counter[str](), Counter[str]()
    for test in read_yaml(PROMETHEUS / "alerts_test.yml")["tests"]:
        for each in test["alert_rule_test"]:
            (raised if each.get("exp_alerts") else quiet)[each["alertname"]] += 1
    names = {rule["alert"] for rule in alert_rules() if "alert" in rule}
    assert len(names) >= 6
    assert set(raised) == set(quiet) == names


def test_each_alert_says_what_to_do() -> None:
    for rule in alert_rules():
        if "alert" in rule:
            assert set(rule["annotations"]) == {"summary", "action"}
            assert rule["labels"]["severity"] in {"critical", "warning"}


def test_the_documentation_lists_every_alert_with_its_severity() -> None:
    page = (DEPLOY.parent / "docs" / "deploy.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `Deepfake")]
    for rule in alert_rules():
        if "alert" in rule:
            (row,) = [row for row in rows if f"`{rule['alert']}`" in row]
            assert row.endswith(f"| {rule['labels']['severity']} |")


def test_expressions_parse() -> None:
    """promtool has parsed those of the rules; nothing else looks at those of the dashboard."""
    queries = dashboard_queries() | {str(i): rule["expr"] for i, rule in enumerate(alert_rules())}
    assert len(queries) >= 25
    for name, expression in queries.items():
        try:
            promql_parser.parse(expression)
        except ValueError as error:
            pytest.fail(f"{name}: {error}")


def test_the_parser_refuses_what_prometheus_would_refuse() -> None:
    for wrong in ("sum by (le (rate(a[5m]))", "rate(a)", "a + + "):
        with pytest.raises(ValueError, match=r"\S"):
            promql_parser.parse(wrong)


def test_panels_have_places_of_their_own_and_one_data_source() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
    taken = Counter[tuple[int, int]]()
    for panel in dashboard["panels"]:
        position = panel["gridPos"]
        columns = range(position["x"], position["x"] + position["w"])
        rows = range(position["y"], position["y"] + position["h"])
        taken.update((x, y) for x in columns for y in rows)
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    assert max(taken.values()) == 1
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    sources = read_yaml(DEPLOY / "grafana" / "datasource.yaml")["datasources"]
    assert [source["type"] for source in sources] == ["prometheus"]
