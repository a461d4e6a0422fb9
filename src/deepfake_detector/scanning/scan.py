"""Folder and model -> a table with one row per image and video, resumable, with memory that does not grow."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deepfake_detector.errors import BadInput
from deepfake_detector.inference.verdict import SCHEMA_VERSION
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.parallel import available_cores
from deepfake_detector.scanning.discovery import Found, walk
from deepfake_detector.scanning.journal import Journal
from deepfake_detector.scanning.rows import Row, failed, write_table, writer_for
from deepfake_detector.scanning.score_files import Judge, judge_all


@dataclass(frozen=True)
class Summary:
    """What came of a scan."""

    rows: int
    counts: dict[str, int]  # fake | real | inconclusive | error -> rows
    passed_over: int  # files that are neither image nor video
    judged_now: int  # the others were known from a run that was stopped
    seconds: float

    @property
    def answered(self) -> int:
        """Rows that are not errors."""
        return self.rows - self.counts.get("error", 0)


def scan(
    folder: Path, out: Path, bundle: Bundle, with_sha256: bool = False, follow_links: bool = False, workers: int = 0
) -> Summary:
    """Judge every image and video below a folder.

    A progress bar goes to stderr. What is known is kept in OUT.journal; a scan that was stopped goes on from there.

    Args:
        folder: what to scan.
        out: .csv or .parquet; appears when it is whole.
        bundle: the model.
        with_sha256: add the files' digests.
        follow_links: enter linked folders.
        workers: processes; 0 for one per core.

    Raises:
        BadInput: no such folder, an output that cannot be written, or another scan is writing it.
        ToolFailed: see `Engine`.
    """
    began_s = time.monotonic()
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}", "name a folder with images or videos; links may lead to it")
    writer = writer_for(out)
    about = {
        "folder": str(folder.resolve()),
        "model": bundle.sha256,
        "schema_version": SCHEMA_VERSION,
        "sha256": with_sha256,
    }
    journal = Journal(out.with_name(f"{out.name}.journal"), about)
    try:
        judge = Judge(folder.resolve(), bundle.path.resolve(), with_sha256)
        judged_now = _fill(journal, judge, follow_links, workers or available_cores())
        counts: Counter[str] = Counter()
        write_table(out, _counted(journal.rows(), counts), writer, with_sha256)
        found = Summary(counts.total(), dict(counts), journal.passed_over(), judged_now, time.monotonic() - began_s)
        journal.remove()
    except BaseException:
        journal.close()
        raise
    return found


def _fill(journal: Journal, judge: Judge, follow_links: bool, workers: int) -> int:
    """Judge what the journal does not know; how many that were."""
    total = sum(1 for _ in walk(judge.folder, follow_links))
    judged_now = 0
    # On a terminal a moving bar; in a log a line every half minute.
    with tqdm(
        total=total, desc="scan", unit="file", dynamic_ncols=True, mininterval=0.2 if sys.stderr.isatty() else 30
    ) as bar:
        unknown = _unknown(journal, walk(judge.folder, follow_links), bar)
        for found, row in judge_all(judge, unknown, workers):
            journal.keep(found, row)
            bar.update()
            judged_now += 1
    journal.commit()
    return judged_now


def _unknown(journal: Journal, files: Iterator[Found], bar: Any) -> Iterator[Found]:
    for found in files:
        if found.problem:
            journal.keep(found, failed(found.name, BadInput(found.problem)))
            bar.update()
        elif journal.knows(found):
            bar.initial += 1  # counts as done, but not for the speed that the time left is reckoned from
            bar.n += 1
            bar.last_print_n += 1
        else:
            yield found


def _counted(rows: Iterator[Row], counts: Counter[str]) -> Iterator[Row]:
    for row in rows:
        counts[row.verdict or "error"] += 1
        yield row
