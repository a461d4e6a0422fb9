"""A folder and a model -> a table with one row per image and video; resumable, and memory does not grow with files."""

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
from deepfake_detector.scanning.discovery import FoundFile, find_files
from deepfake_detector.scanning.journal import ScanJournal
from deepfake_detector.scanning.rows import ScanRow, choose_writer, error_row, write_table
from deepfake_detector.scanning.score_files import FileScorer, score_files


@dataclass(frozen=True)
class ScanSummary:
    """Counts of a completed scan."""

    rows: int
    counts: dict[str, int]  # fake | real | inconclusive | error -> rows
    skipped: int  # files that are neither image nor video
    scored_now: int  # files read in this run; the journal had the others
    seconds: float

    @property
    def answered(self) -> int:
        """Rows that are not errors."""
        return self.rows - self.counts.get("error", 0)


def scan_folder(
    folder: Path, out: Path, bundle: Bundle, with_sha256: bool = False, follow_links: bool = False, workers: int = 0
) -> ScanSummary:
    """Score every image and video below a folder.

    A progress bar goes to stderr. OUT.journal holds the rows until the output is complete; an interrupted scan
    continues from it.

    Args:
        folder: to scan.
        out: .csv or .parquet; appears when it is complete.
        bundle: the model.
        with_sha256: add the files' digests.
        follow_links: enter linked folders.
        workers: processes; 0 for one per core.

    Raises:
        BadInput: no such folder, the output cannot be written, or another scan writes it.
        ToolFailed: see `Engine`.
    """
    start_s = time.monotonic()
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}", "name a folder with images or videos; links may lead to it")
    writer = choose_writer(out)
    conditions = {
        "folder": str(folder.resolve()),
        "model": bundle.sha256,
        "schema_version": SCHEMA_VERSION,
        "sha256": with_sha256,
    }
    journal = ScanJournal(out.with_name(f"{out.name}.journal"), conditions)
    try:
        scorer = FileScorer(folder.resolve(), bundle.path.resolve(), with_sha256)
        scored_now = _score_missing(journal, scorer, follow_links, workers or available_cores())
        counts: Counter[str] = Counter()
        write_table(out, _counted(journal.rows(), counts), writer, with_sha256)
        summary = ScanSummary(counts.total(), dict(counts), journal.skipped(), scored_now, time.monotonic() - start_s)
        journal.delete()
    except BaseException:
        journal.close()
        raise
    return summary


def _score_missing(journal: ScanJournal, scorer: FileScorer, follow_links: bool, workers: int) -> int:
    """Score the files that the journal has no row for; returns their number."""
    total = sum(1 for _ in find_files(scorer.folder, follow_links))
    scored_now = 0
    # A moving bar on a terminal; in a log, a line every half minute.
    with tqdm(
        total=total, desc="scan", unit="file", dynamic_ncols=True, mininterval=0.2 if sys.stderr.isatty() else 30
    ) as bar:
        missing = _missing_files(journal, find_files(scorer.folder, follow_links), bar)
        for found, row in score_files(scorer, missing, workers):
            journal.record(found, row)
            bar.update()
            scored_now += 1
    journal.commit()
    return scored_now


def _missing_files(journal: ScanJournal, files: Iterator[FoundFile], bar: Any) -> Iterator[FoundFile]:
    for found in files:
        if found.problem:
            journal.record(found, error_row(found.name, BadInput(found.problem)))
            bar.update()
        elif journal.reuse(found):
            bar.initial += 1  # counts as done, but not towards the speed that predicts the remaining time
            bar.n += 1
            bar.last_print_n += 1
        else:
            yield found


def _counted(rows: Iterator[ScanRow], counts: Counter[str]) -> Iterator[ScanRow]:
    for row in rows:
        counts[row.verdict or "error"] += 1
        yield row
