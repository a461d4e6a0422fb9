"""Rejected data -> a notice on every report of later stages: they were made from other data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepfake_detector.errors import BadInput
from deepfake_detector.io import atomic_write, write_json
from deepfake_detector.paths import Workspace

NOTICE = (
    "This report belongs to other data: the stage `validate` rejected the present data after it was made. "
    "reports/data_docs/index.html says why; `dvc repro` replaces this report when the data are accepted."
)
JSON_KEY = "belongs_to_other_data"
_JSON_REPORTS = ("prepare", "train", "evaluate", "tune", "ablate")  # register and package report on stores, not on data
_BODY = re.compile(r"<body\b[^>]*>|\A", re.IGNORECASE)
_BANNER = f'<p role="alert" style="margin:0;padding:.8rem 2rem;background:#c62828;color:#fff">{NOTICE}</p>\n'


@contextmanager
def marking_older_reports(workspace: Workspace) -> Iterator[None]:
    """Mark older reports if the block rejects the data, that is, raises `BadInput`."""
    try:
        yield
    except BadInput:
        mark_older_reports(workspace)
        raise


def mark_older_reports(workspace: Workspace) -> None:
    """Put the notice on every page (HTML, Markdown) below reports/ and into the JSON reports of later stages.

    Files are replaced, not written in place, so DVC's cache keeps the originals. A marked report is left as it is.
    """
    reports = workspace.report("validate").parent
    own = (workspace.data_docs, workspace.figures("validate"))
    for page in sorted([*reports.rglob("*.html"), *reports.rglob("*.md")]):
        if not any(page.is_relative_to(folder) for folder in own):
            _mark_page(page)
    for path in map(workspace.report, _JSON_REPORTS):
        if path.is_file():
            write_json(path, json.loads(path.read_text(encoding="utf-8")) | {JSON_KEY: NOTICE})


def _mark_page(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if NOTICE in text:
        return
    if page.suffix == ".md":
        text = f"> **{NOTICE}**\n\n{text}"
    else:
        start = max(_BODY.finditer(text), key=lambda found: found.end()).end()
        text = text[:start] + _BANNER + text[start:]
    with atomic_write(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
