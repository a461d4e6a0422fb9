"""Access log lines, metrics and the prediction log; none of them holds a picture, a file name or a path."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving import telemetry
from deepfake_detector.serving.messages import JobReport
from deepfake_detector.serving.telemetry import JsonFormatter, PredictionLog

FILE = {"files": {"image": ("secret-name", encode_png(np.zeros((9, 9, 3), np.uint8)))}}


def test_each_request_logs_one_json_line_with_its_id_and_without_its_file_name(
    served: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "deepfake"):
        served.request("POST", "/predict_image", headers={"X-Request-ID": "one-1"}, **FILE)
        served.request("GET", "/secret-path%0A{}")
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records if record.name == "deepfake"]
    expected = {"event": "request", "level": "info", "method": "POST", "route": "/predict_image", "status": 200}
    assert lines[0].items() >= (expected | {"request_id": "one-1", "verdict": "inconclusive", "faces": 0}).items()
    assert (lines[1]["route"], lines[1]["status"]) == ("other", 404)
    assert "secret" not in str(lines)


def test_requests_verdicts_errors_and_steps_are_counted(served: Any, red_portrait: NDArray[np.uint8]) -> None:
    def value(name: str, **labels: str) -> float:
        return served.dispatcher.metrics.registry.get_sample_value(f"deepfake_{name}", labels) or 0.0

    before = value("verdicts_total", kind="image", verdict="fake")
    served.request("POST", "/predict_image", files={"image": ("a", encode_png(red_portrait))})
    served.request("POST", "/predict_image", files={"image": ("a", b"junk")})
    assert value("verdicts_total", kind="image", verdict="fake") == before + 1
    assert value("file_errors_total", kind="image", code="unreadable_image") >= 1
    assert value("requests_total", route="/predict_image", status="415") >= 1
    assert value("p_fake_bucket", kind="image", le="0.9") < value("p_fake_count", kind="image")
    for step in ("queue", "decode", "find", "score"):
        assert value("step_duration_seconds_count", kind="image", step=step) >= 1
    scraped = served.request("GET", "/metrics")
    assert scraped.headers["content-type"].startswith("text/plain")
    assert "deepfake_workers_ready 2.0" in scraped.text
    assert "deepfake_queue_slots_in_use 0.0" in scraped.text
    assert "junk" not in scraped.text
    assert "_created" not in scraped.text


def test_assets_are_counted_under_their_folder_and_health_checks_not_at_all(served: Any) -> None:
    registry = served.dispatcher.metrics.registry

    def counted() -> dict[tuple[str, str], float]:
        metrics = (each for each in registry.collect() if each.name == "deepfake_requests")
        return {(s.labels["route"], s.labels["status"]): s.value for each in metrics for s in each.samples}

    before = counted()
    for path in ("/ui/", "/ui/main.js", "/ui/styles/nothing.css", "/ui", "/docs/docs.js", "/livez", "/readyz", "/uix"):
        served.request("GET", path)
    after = counted()
    added = {key: count - before.get(key, 0) for key, count in after.items() if count != before.get(key, 0)}
    expected = {("/ui/", "200"): 2, ("/ui/", "404"): 1, ("/ui/", "307"): 1, ("/docs/", "200"): 1, ("other", "404"): 1}
    assert added == expected


def test_the_prediction_log_has_scores_and_quality_and_no_file_name(
    served: Any, red_portrait: NDArray[np.uint8], tiny_bundle: Bundle
) -> None:
    data = encode_png(red_portrait)
    files = {"image": ("secret-name", data)}
    served.request("POST", "/predict_image?explain=true", headers={"X-Request-ID": "log-1"}, files=files)
    text = served.prediction_log.read_text()
    line = json.loads(text.splitlines()[-1])
    assert (line["request_id"], line["model_sha256"], line["kind"]) == ("log-1", tiny_bundle.sha256, "image")
    assert (line["verdict"], line["file_bytes"], line["faces"]) == ("fake", len(data), 1)
    assert line["faces_p_fake"] == [line["p_fake"]]
    assert set(line["quality"]) == {"brightness", "contrast", "sharpness"}
    assert len(text.splitlines()[-1]) < 1000
    assert "secret" not in text


def test_the_prediction_log_is_rotated(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "LOG_BYTES", 2000)
    log = PredictionLog(tmp_path / "p.jsonl", "0" * 64)
    for i in range(200):
        log.write(str(i), "image", JobReport(status=200, verdict="real", p_fake=0.1))
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["p.jsonl", *(f"p.jsonl.{i}" for i in range(1, 6))]
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    assert json.loads((tmp_path / "p.jsonl").read_text().splitlines()[-1])["request_id"] == "199"


def test_no_line_of_the_prediction_log_is_kept_for_longer_than_its_days(tmp_path: Path) -> None:
    log, day_s = PredictionLog(tmp_path / "p.jsonl", "0" * 64, days=6), 86_400.0
    start_s = time.time()

    def kept() -> list[str]:
        lines = [line for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
        return sorted(json.loads(line)["request_id"] for line in lines)

    log.write("old", "image", JobReport(status=200))
    log.delete_old(start_s + 0.9 * day_s)
    assert not (tmp_path / "p.jsonl.1").exists()
    log.delete_old(start_s + 1.1 * day_s)  # a sixth of the time is over: the next lines go to another file
    log.write("new", "image", JobReport(status=200))
    assert kept() == ["new", "old"]
    log.delete_old(start_s + 5.9 * day_s)
    assert "old" in kept()
    (tmp_path / "p.jsonl.5").write_text("damaged\n")
    log.delete_old(start_s + 6.1 * day_s)
    assert kept() == []
    log.close()


def test_old_lines_are_deleted_when_the_service_starts_and_hourly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.jsonl"
    line = json.dumps({"time": "2020-01-01T00:00:00.000+00:00", "request_id": "old"})
    Path(f"{path}.3").write_text(line + "\n")
    PredictionLog(path, "0" * 64, days=30).close()
    assert not Path(f"{path}.3").exists()
    monkeypatch.setattr(telemetry, "DELETE_OLD_EVERY_S", 0.01)
    log = PredictionLog(path, "0" * 64, days=30)
    Path(f"{path}.3").write_text(line + "\n")
    deadline_s = time.monotonic() + 20
    while Path(f"{path}.3").exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    log.close()


def test_a_traceback_is_logged_on_one_line() -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        exc_info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("deepfake", logging.ERROR, "", 0, "it\nfailed", None, exc_info)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert "ZeroDivisionError" in json.loads(line)["traceback"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_costs_lines_of_the_prediction_log_and_not_answers(caplog: pytest.LogCaptureFixture) -> None:
    log = PredictionLog(Path("/dev/full"), "sha")
    for _ in range(3):
        log.write("request", "image", JobReport(status=200))
    log.close()
    assert [record.message for record in caplog.records] == ["the prediction log cannot be written"]
    assert "No space left" in caplog.records[0].__dict__["error"]
