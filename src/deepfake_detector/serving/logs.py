"""What happens -> JSON lines for collectors of logs: one object per line, with the request's id, no pictures."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from deepfake_detector.serving.wire import Kind, Report

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
