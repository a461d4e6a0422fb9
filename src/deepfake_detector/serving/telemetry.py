"""What happens -> JSON lines for collectors of logs: one object per line, with the request's id, no pictures."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from deepfake_detector.serving.messages import Kind, Report

LOG_BYTES, LOG_FILES = 20 * 2**20, 5  # the prediction log keeps at most their product: about half a million answers
_USUAL = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """A record and its `extra` fields as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """See the class."""
        extra = {name: value for name, value in vars(record).items() if name not in _USUAL}
        line: dict[str, Any] = {
            "time": _now(),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **extra,
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_as_json() -> None:
    """Have this service's log, and BentoML's and uvicorn's beside it, written as JSON lines to standard error."""
    ours = logging.StreamHandler()
    ours.setFormatter(JsonLines())
    for name in ("deepfake", "bentoml", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [ours], False
    logging.getLogger("deepfake").setLevel(logging.INFO)
    logging.getLogger("uvicorn.access").disabled = True  # the same requests without their ids


class PredictionLog:
    """Scores and picture quality of each answer, for drift checks later; never a picture, a name or a sender.

    Args:
        path: of the file; the older ones beside it are called .1 to .5.
        sha256: of the model that answers.
    """

    def __init__(self, path: Path, sha256: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._sha256 = sha256
        self._handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(message)s"))

    def write(self, request_id: str, kind: Kind, report: Report) -> None:
        """Keep one answer."""
        kept = report.model_dump(mode="json", exclude={"failure"})
        line = {"time": _now(), "request_id": request_id, "model": self._sha256, "kind": kind, **kept}
        self._handler.emit(logging.makeLogRecord({"msg": json.dumps(line)}))

    def close(self) -> None:
        """Before the service ends."""
        self._handler.close()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
SHARES = tuple(i / 10 for i in range(1, 11))
FACES = (0, 1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What is counted. All names begin with deepfake_."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter("deepfake_requests", "HTTP requests", ["route", "status"], registry=self.registry)
        self._seconds = Histogram(
            "deepfake_request_seconds",
            "from the first byte to the last",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._verdicts = Counter("deepfake_verdicts", "answers by verdict", ["kind", "verdict"], registry=self.registry)
        self._errors = Counter(
            "deepfake_file_errors", "files that could not be judged", ["kind", "code"], registry=self.registry
        )
        self._steps = Histogram(
            "deepfake_step_seconds",
            "wait, decode, find, score",
            ["kind", "step"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._faces = Histogram(
            "deepfake_faces", "faces found per file", ["kind"], buckets=FACES, registry=self.registry
        )
        self._p_fake = Histogram("deepfake_p_fake", "scores of files", ["kind"], buckets=SHARES, registry=self.registry)
        self._deaths = Counter(
            "deepfake_worker_deaths", "workers that ended while they were needed", registry=self.registry
        )
        self._model = Gauge(
            "deepfake_model_info",
            "the model that answers",
            ["sha256", "version", "run_id", "name"],
            registry=self.registry,
        )

    def serve(self, sha256: str, version: str, run_id: str, name: str) -> None:
        """Say which model answers."""
        self._model.labels(sha256, version, run_id, name).set(1)

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Show a value as it is when somebody looks."""
        Gauge(name, what, registry=self.registry).set_function(value)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def answer(self, kind: Kind, report: Report) -> None:
        """Count an answer about one file."""
        if report.status != 200:
            self._errors.labels(kind, report.code).inc()
            return
        self._verdicts.labels(kind, report.verdict).inc()
        self._faces.labels(kind).observe(report.faces)
        if report.p_fake is not None:
            self._p_fake.labels(kind).observe(report.p_fake)
        for step, seconds in report.steps_s.items():
            self._steps.labels(kind, step).observe(seconds)

    def death(self) -> None:
        """Count a worker that ended."""
        self._deaths.inc()

    def render(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self.registry)
