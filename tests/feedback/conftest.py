"""Makers of reports, decisions and folders of feedback."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.feedback.store import FeedbackReport, FeedbackStore, KeptPicture, Label, picture_file

DAYS = 30.0


def make_report(
    number: int, reporter: str = "anna", label: Label = "fake", data: bytes | None = None, **changed: Any
) -> FeedbackReport:
    """The report with this number, of the request with this number unless another is named."""
    feedback_id = f"{number:032x}"
    kept = None
    if data is not None:
        name = picture_file(feedback_id, "image/png", DAYS, changed.pop("now_s", None))
        kept = KeptPicture(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), file=name)
    values = {
        "feedback_id": feedback_id, "time": f"2026-11-29T00:{number // 60:02d}:{number % 60:02d}+00:00",
        "request_id": f"request-{number}", "reporter": reporter, "label": label, "verdict": "real", "p_fake": 0.2,
        "kind": "image", "model_sha256": "m" * 64, "picture": kept,
    }  # fmt: skip
    return FeedbackReport.model_validate(values | changed)


class Folder:
    """A folder of feedback that a test fills."""

    def __init__(self, path: Path) -> None:
        self.path, self.store, self._number = path, FeedbackStore(path), 0

    def add(self, data: bytes | None, reporter: str = "anna", label: Label = "fake", **changed: Any) -> FeedbackReport:
        """Store one report."""
        self._number += 1
        report = make_report(self._number, reporter, label, data, **changed)
        self.store.append(report, data)
        return report


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "feedback")


@pytest.fixture
def report() -> Callable[..., FeedbackReport]:
    return make_report


@pytest.fixture
def now_s() -> float:
    return time.time()
