"""Names of validators -> their paths; a missing one skips a test, with REQUIRE_DEPLOY_TOOLS=1 it fails it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
PACKAGES = {
    "promtool": "Debian's package prometheus",
    "prometheus": "Debian's package prometheus",
    "kubectl": "kubectl",
}
UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def find_program(name: str) -> str:
    """Path of a program from this environment or from the system."""
    own = Path(sys.executable).parent / name
    found = str(own) if own.is_file() else shutil.which(name)
    if found is None:
        text = f"no {name}: it comes with {PACKAGES.get(name, 'the extra dev')}"
        (pytest.fail if os.environ.get("REQUIRE_DEPLOY_TOOLS") == "1" else pytest.skip)(text)
    return found


def read_yaml(path: Path) -> Any:
    """Content of a YAML file below deploy/."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def to_number(quantity: str) -> int:
    """Kubernetes' quantity, for example 4Gi -> number of bytes or processors."""
    digits, unit = re.fullmatch(r"(\d+)([A-Za-z]*)", quantity).groups()  # type: ignore[union-attr]
    return int(digits) * UNITS[unit]


def alert_rules() -> list[dict[str, Any]]:
    """All rules of deploy/prometheus/alerts.yml, those that record and those that alert."""
    groups = read_yaml(DEPLOY / "prometheus" / "alerts.yml")["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard_queries() -> dict[str, str]:
    """Title of a panel and letter of its query -> expression, with Grafana's variables replaced by values."""
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
    queries = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    queries |= {f"annotation {each['name']}": each["expr"] for each in dashboard["annotations"]["list"]}
    return {name: q.replace("$__rate_interval", "1m").replace("$instance", ".*") for name, q in queries.items()}


def selectors(expression: Any) -> list[Any]:
    """All vector selectors of an expression that promql-parser has parsed."""
    if isinstance(expression, promql_parser.VectorSelector):
        return [expression]
    parts = [getattr(expression, name, None) for name in ("lhs", "rhs", "expr", "param", "vector_selector")]
    parts += getattr(expression, "args", [])
    return [selector for part in parts if part is not None for selector in selectors(part)]
