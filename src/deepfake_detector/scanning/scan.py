"""A folder and a model -> a table with one row per image and video; resumable, and memory does not grow with files."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deepfake_detector.errors import BadInput
from deepfake_detector.inference.verdict import SCHEMA_VERSION
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.parallel import available_cores
from deepfake_detector.scanning.discovery import FoundFile
from deepfake_detector.scanning.journal import ScanJournal
from deepfake_detector.scanning.rows import ScanRow, error_row
from deepfake_detector.scanning.score_files import FileScorer, score_files
from deepfake_detector.scanning.storage import LocalFolder, Storage, open_storage
from deepfake_detector.scanning.table_output import table_output


@dataclass(frozen=True)
class ScanSummary:
    """Counts of a completed scan."""

    rows: int
    counts: dict[str, int]  # fake | real | inconclusive | error -> rows
    skipped: int  # files that are neither image nor video
    scored_now: int  # files read in this run; the journal or the output had the others
    seconds: float
    errors: dict[str, int] = field(default_factory=dict)  # code -> rows

    @property
    def answered(self) -> int:
        """Rows that are not errors."""
        return self.rows - self.counts.get("error", 0)


def scan_folder(
    folder: Path | str,
    out: Path | str,
    bundle: Bundle,
    with_sha256: bool = False,
    follow_links: bool = False,
    workers: int = 0,
) -> ScanSummary:
    """Score every image and video below a folder.

    A progress bar goes to stderr. A journal holds the rows until the output is complete; an interrupted scan continues
    from it. It lies beside the output, or in the user's cache if that is an address.

    Args:
        folder: to scan, or an address like s3://BUCKET/PATH.
        out: .csv or .parquet, a file or an address; appears when it is complete.
        bundle: the model.
        with_sha256: add the files' digests.
        follow_links: enter linked folders.
        workers: processes; 0 for one per core.

    Raises:
        BadInput: no such folder, the output cannot be written, or another scan writes it.
        ToolFailed: see `Engine`.
    """
    start_s = time.monotonic()
    source = open_source(folder, follow_links)
    output = table_output(out)
    journal = ScanJournal(output.journal, scan_conditions(source, bundle, with_sha256))
    try:
        scorer = FileScorer(source, bundle.path.resolve(), with_sha256)
        scored_now = _score_missing(journal, scorer, workers or available_cores())
        counts: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        output.write(counted(journal.rows(), counts, errors), with_sha256)
        skipped, seconds = journal.skipped(), time.monotonic() - start_s
        summary = ScanSummary(counts.total(), dict(counts), skipped, scored_now, seconds, dict(errors))
        journal.delete()
    except BaseException:
        journal.close()
        raise
    return summary


def open_source(folder: Path | str, follow_links: bool = False) -> Storage:
    """The files to scan.

    Raises:
        BadInput: no such folder, or an address that is not read.
    """
    source = open_storage(folder, follow_links)
    if not isinstance(source, LocalFolder):
        return source
    if not source.path.is_dir():
        raise BadInput(f"there is no folder {folder}", "name a folder with images or videos; links may lead to it")
    return LocalFolder(source.path.resolve(), follow_links)


def scan_conditions(source: Storage, bundle: Bundle, with_sha256: bool) -> dict[str, object]:
    """Under which rows of an earlier run hold: folder, model and options, as JSON values."""
    return {
        "folder": source.address,
        "model": bundle.sha256,
        "schema_version": SCHEMA_VERSION,
        "sha256": with_sha256,
    }


def progress_bar(total: int) -> Any:
    """A moving bar on a terminal; in a log, a line every half minute."""
    interval_s = 0.2 if sys.stderr.isatty() else 30
    return tqdm(total=total, desc="scan", unit="file", dynamic_ncols=True, mininterval=interval_s)


def count_as_done(bar: Any, files: int) -> None:
    """Move the bar for files of an earlier run; they do not count towards the speed that predicts the rest."""
    bar.initial += files
    bar.n += files
    bar.last_print_n += files


def counted(rows: Iterable[ScanRow], counts: Counter[str], errors: Counter[str]) -> Iterator[ScanRow]:
    """The rows, while verdicts and codes of errors are counted."""
    for row in rows:
        counts[row.verdict or "error"] += 1
        if row.error is not None:
            errors[row.error.partition(":")[0]] += 1
        yield row


def _score_missing(journal: ScanJournal, scorer: FileScorer, workers: int) -> int:
    """Score the files that the journal has no row for; returns their number."""
    total = sum(1 for _ in scorer.source.find())
    scored_now = 0
    with progress_bar(total) as bar:
        missing = _missing_files(journal, scorer.source.find(), bar)
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
            count_as_done(bar, 1)
        else:
            yield found
