"""Requests and results -> JSON log lines, a prediction log and Prometheus metrics; never pictures or file names."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from deepfake_detector.serving.messages import JobReport, MediaKind
from deepfake_detector.serving.options import ServingOptions

LOG_BYTES, LOG_BACKUPS = 20 * 2**20, 5  # the prediction log: six files, together about half a million answers
DELETE_OLD_EVERY_S = 3600.0
DURATION_BUCKETS_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
SCORE_BUCKETS = tuple(i / 10 for i in range(1, 11))
FACE_BUCKETS = (0, 1, 2, 4, 8, 16, 32, 64)
logger = logging.getLogger("deepfake")
_STANDARD_ATTRIBUTES = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record and its `extra` fields as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}
        level = record.levelname.lower()
        line: dict[str, Any] = {"time": _utc_now(), "level": level, "event": record.getMessage(), **extra}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_json_logging() -> None:
    """Write the logs of this service, BentoML, uvicorn and RQ as JSON lines to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for name in ("deepfake", "bentoml", "uvicorn", "uvicorn.error", "rq"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
    logging.getLogger("deepfake").setLevel(logging.INFO)
    logging.getLogger("uvicorn.access").disabled = True  # the same requests without their ids


class _TolerantHandler(RotatingFileHandler):
    """A full disk costs lines of the log, not answers: it is reported once, and again after a line was written."""

    failed, reason = False, ""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        before, self.failed = self.failed, False
        super().emit(record)  # calls handleError, and returns
        if self.failed and not before:
            logger.warning("the prediction log cannot be written", extra={"error": self.reason})

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002  (logging's names)
        """Note the failure."""
        self.failed, self.reason = True, str(sys.exc_info()[1])

    def close(self) -> None:
        """Close the file; what is buffered is lost if the disk is full."""
        with suppress(OSError):
            super().close()


class PredictionLog:
    """A rotating file with one JSON line per answer, for drift checks: scores, times and image quality.

    No line is kept for longer than some days: a file is replaced after a sixth of that time, at the latest.

    Args:
        path: of the file; older ones beside it end in .1 to .5.
        model_sha256: digest of the model that answers.
        days: after which a line is deleted.
    """

    def __init__(self, path: Path, model_sha256: str, days: int = 90) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._model_sha256, self._kept_s = path, model_sha256, days * 86_400.0
        self._handler = _TolerantHandler(path, maxBytes=LOG_BYTES, backupCount=LOG_BACKUPS, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(message)s"))
        self.delete_old()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._delete_old_hourly, daemon=True)
        self._thread.start()

    def write(self, request_id: str, kind: MediaKind, report: JobReport) -> None:
        """Append one answer."""
        logged = report.model_dump(mode="json", exclude={"traceback", "error_code"})
        names = {"time": _utc_now(), "request_id": request_id, "model_sha256": self._model_sha256, "kind": kind}
        self._handler.emit(logging.makeLogRecord({"msg": json.dumps(names | logged)}))

    def delete_old(self, now_s: float | None = None) -> None:
        """Delete the lines whose time is over; `now_s` is the time, in seconds since 1970."""
        now_s = time.time() if now_s is None else now_s
        self._handler.acquire()
        try:
            first_s = _first_time_s(self._path)
            if first_s is not None and first_s <= now_s - self._kept_s / (LOG_BACKUPS + 1):
                self._handler.doRollover()
            for number in range(1, LOG_BACKUPS + 1):
                older = Path(f"{self._path}.{number}")
                first_s = _first_time_s(older)
                if first_s is not None and first_s <= now_s - self._kept_s:
                    older.unlink()
        except OSError as error:
            logger.warning("old lines of the prediction log cannot be deleted", extra={"error": str(error)})
        finally:
            self._handler.release()

    def close(self) -> None:
        """Close the file."""
        self._closed.set()
        self._thread.join()
        self._handler.close()

    def _delete_old_hourly(self) -> None:
        while not self._closed.wait(DELETE_OLD_EVERY_S):
            self.delete_old()


def open_prediction_log(options: ServingOptions, model_sha256: str) -> PredictionLog | None:
    """Open the prediction log that the settings name; None if they name none."""
    if options.prediction_log is None:
        return None
    return PredictionLog(options.prediction_log, model_sha256, options.prediction_log_days)


def _first_time_s(path: Path) -> float | None:
    """Time of the first line of a prediction log, in seconds since 1970; None if there is none.

    A line that tells no time, for example of a damaged file, counts as written when the file was last changed.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        line = file.readline()
    if not line:
        return None
    try:
        return datetime.fromisoformat(json.loads(line)["time"]).timestamp()
    except (ValueError, KeyError, TypeError):
        return path.stat().st_mtime


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Metrics:
    """Prometheus metrics of the service; all names begin with deepfake_."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        # Else each counter and histogram has a second series, its start time.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._requests = self._counter("requests", "HTTP requests", "route", "status")
        self._request_s = self._histogram(
            "request_duration_seconds", "duration of HTTP requests", DURATION_BUCKETS_S, "route"
        )
        self._verdicts = self._counter("verdicts", "answers by verdict", "kind", "verdict")
        self._errors = self._counter("file_errors", "files without a verdict, by error code", "kind", "code")
        self._step_s = self._histogram(
            "step_duration_seconds", "queue, decode, find (detect and crop), score", DURATION_BUCKETS_S, "kind", "step"
        )
        self._faces = self._histogram("faces", "faces per file", FACE_BUCKETS, "kind")
        self._p_fake = self._histogram("p_fake", "scores of files", SCORE_BUCKETS, "kind")
        self._restarts = self._counter("worker_restarts", "workers replaced because they ended or were killed")
        self._model = Gauge(
            "deepfake_model_info", "the served model", ["sha256", "version", "run_id", "name"], registry=self.registry
        )

    def set_model(self, sha256: str, version: str, run_id: str, name: str) -> None:
        """Publish which model is served."""
        self._model.labels(sha256, version, run_id, name).set(1)

    def add_gauge(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """Publish a value that is read at each scrape."""
        Gauge(name, documentation, registry=self.registry).set_function(value)

    def count_request(self, route: str, status: int, duration_s: float) -> None:
        """Count one HTTP request."""
        self._requests.labels(route, status).inc()
        self._request_s.labels(route).observe(duration_s)

    def count_result(self, kind: MediaKind, report: JobReport) -> None:
        """Count the result of one file."""
        if report.status != 200:
            self._errors.labels(kind, report.error_code).inc()
            return
        self._verdicts.labels(kind, report.verdict).inc()
        self._faces.labels(kind).observe(report.faces)
        if report.p_fake is not None:
            self._p_fake.labels(kind).observe(report.p_fake)
        for step, duration_s in report.steps_s.items():
            self._step_s.labels(kind, step).observe(duration_s)

    def count_worker_restart(self) -> None:
        """Count a worker that ended and is replaced."""
        self._restarts.inc()

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"deepfake_{name}", documentation, labels, registry=self.registry)

    def _histogram(self, name: str, documentation: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"deepfake_{name}", documentation, labels, buckets=buckets, registry=self.registry)
