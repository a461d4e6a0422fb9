"""The alert rules and the dashboard of deploy/ against the service: all that they name is exported."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import promql_parser
import pytest
import uvicorn
import yaml
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from deepfake_detector.media.image import encode_png
from deepfake_detector.serving.api_keys import ApiKeys
from tests.deploy.validators import DEPLOY, alert_rules, dashboard_queries, find_program, selectors

OWN_LABELS = {"job", "instance"}  # Prometheus adds them
PROMETHEUS_METRICS = {"up", "ALERTS"}
START_S = 60
TOKEN = "a-token-of-some-length"
EMPTY_WHEN_ALL_IS_WELL = {"annotation Alerts", "Drift of the scores A"}  # the second needs six hours


@pytest.fixture(scope="module")
def exercised(served: Any, red_portrait: NDArray[np.uint8], clip: Path) -> Any:
    """The service after one request of each kind, so that labelled metrics have series."""
    picture = encode_png(red_portrait)
    for path, field, content in (
        ("/predict_image", "image", picture),
        ("/predict_image", "image", b"junk"),
        ("/predict_video", "video", clip.read_bytes()),
    ):
        served.request("POST", path, files={field: ("file", content)})
    return served


def exported(served: Any) -> dict[str, dict[str, set[str]]]:
    """Name of a series in /metrics -> its labels -> their values."""
    series = dict[str, dict[str, set[str]]]()
    for family in text_string_to_metric_families(served.request("GET", "/metrics").text):
        for sample in family.samples:
            labels = series.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return series


def expressions() -> dict[str, str]:
    return dashboard_queries() | {rule.get("alert") or rule["record"]: rule["expr"] for rule in alert_rules()}


def unknown_names(expression: str, series: dict[str, dict[str, set[str]]]) -> set[str]:
    """Metrics, labels and literal label values of an expression that the service does not export."""
    found = set[str]()
    for selector in selectors(promql_parser.parse(expression)):
        if selector.name in PROMETHEUS_METRICS or ":" in selector.name:
            continue
        labels = series.get(selector.name)
        if labels is None:
            found.add(selector.name)
            continue
        for matcher in selector.matchers.matchers:
            if matcher.name not in labels and matcher.name not in OWN_LABELS:
                found.add(f"{selector.name}: {matcher.name}")
            if matcher.name in ("route", "kind", "le"):
                pattern = matcher.value if "Re" in str(matcher.op) else re.escape(matcher.value)
                if not any(re.fullmatch(pattern, value) for value in labels.get(matcher.name, ())):
                    found.add(f"{selector.name}: {matcher}")
    return found


def test_the_service_exports_all_that_alerts_and_dashboard_name(exercised: Any) -> None:
    series = exported(exercised)
    for name, expression in expressions().items():
        assert not unknown_names(expression, series), name


def test_a_misspelt_metric_label_or_route_is_found(exercised: Any) -> None:
    series = exported(exercised)
    wrong = ("rate(deepfake_request_total[5m])", 'deepfake_faces_sum{media="image"}')
    for expression in (*wrong, 'deepfake_requests_total{route="/predict-image"}'):
        assert len(unknown_names(f"sum({expression})", series)) == 1, expression


def test_recorded_names_are_recorded() -> None:
    recorded = {rule["record"] for rule in alert_rules() if "record" in rule}
    used = {selector.name for each in expressions().values() for selector in selectors(promql_parser.parse(each))}
    assert {name for name in used if ":" in name} == recorded


def test_the_labels_in_annotations_and_legends_survive_the_aggregation() -> None:
    """`{{ $labels.x }}` is empty when the expression sums x away."""
    for rule in alert_rules():
        for label in re.findall(r"\$labels\.(\w+)", str(rule.get("annotations"))):
            aggregated = re.search(r"\b(sum|max|min|count|avg) by", rule["expr"])
            assert not aggregated or label in rule["expr"], rule["alert"]


def test_promtool_finds_nothing_wrong_with_the_metrics(exercised: Any) -> None:
    text = exercised.request("GET", "/metrics").text
    command = [find_program("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    problems = [line for line in done.stderr.splitlines() if line.strip()]
    assert not problems, problems


@contextmanager
def listening(app: Any) -> Iterator[int]:
    """The application on a port of 127.0.0.1."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def ask(port: int, path: str, **query: str) -> Any:
    """The data of an answer of Prometheus; None as long as it does not answer."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/api/v1/{path}?{urlencode(query)}", timeout=10) as answer:
            return json.load(answer)["data"]
    except OSError:
        return None


def write_configuration(folder: Path, service_port: int) -> None:
    """The files of compose.yaml with our addresses, scraping and evaluating every second."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(folder / "alerts.yml")]
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{service_port}"]}]
    job["authorization"]["credentials_file"] = str(folder / "token")
    (folder / "token").write_text(TOKEN, encoding="utf-8")
    rules = (DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    (folder / "alerts.yml").write_text(rules.replace("interval: 5m", "interval: 1s"), encoding="utf-8")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")


@contextmanager
def prometheus(folder: Path, service_port: int) -> Iterator[int]:
    """A Prometheus that asks our service; its port."""
    write_configuration(folder, service_port)
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [find_program("prometheus"), f"--config.file={folder / 'prometheus.yml'}",
               f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
        try:
            yield port
        finally:
            process.terminate()


@pytest.mark.slow
def test_a_prometheus_gets_data_for_every_panel_and_no_alert(
    exercised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exercised.dispatcher, "keys", ApiKeys(SecretStr(TOKEN), {}))
    queries = {name: q for name, q in dashboard_queries().items() if name not in EMPTY_WHEN_ALL_IS_WELL}
    with listening(exercised.app) as service_port, prometheus(tmp_path, service_port) as port:
        deadline, empty = time.monotonic() + START_S, set(queries)
        while empty and time.monotonic() < deadline:
            time.sleep(0.5)
            empty = {name for name, q in queries.items() if not (ask(port, "query", query=q) or {}).get("result")}
        assert not empty, (tmp_path / "log").read_text()[-2000:]
        (target,) = ask(port, "targets")["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")
        rules = [rule for group in ask(port, "rules")["groups"] for rule in group["rules"]]
        assert len(rules) == len(alert_rules())
        assert {rule["health"] for rule in rules} == {"ok"}
        assert ask(port, "alerts")["alerts"] == []
