"""Names of files -> their rows, from worker processes; a file that crashes its worker gets a row with an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
from pathlib import Path

from deepfake_detector.errors import BadInput, DetectorError, ToolFailed
from deepfake_detector.inference.detector import Detector
from deepfake_detector.io import sha256_of_file
from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.parallel import process_pool
from deepfake_detector.scanning.discovery import FoundFile
from deepfake_detector.scanning.rows import ScanRow, error_row, verdict_row
from deepfake_detector.scanning.storage import Storage

ScoreBatch = Callable[[Sequence[str]], list[ScanRow | None]]
ScoredFile = tuple[FoundFile, ScanRow | None]
# Processes, not threads around one engine: both take 11.5 ms of processor time a picture (256 px, medians of
# interleaved rounds; scoring eight faces at once 11.2), and a crash of a decoder ends one worker, not the scan.
FILES_PER_BATCH = 8
BATCHES_PER_WORKER = 3  # submitted at most: if writing rows is slow, the workers wait and the memory does not grow


class ScoringPool:
    """Worker processes that score files. They keep their model from one call to the next.

    Args:
        score: hashable and picklable; see `FileScorer`.
        workers: processes.
    """

    def __init__(self, score: ScoreBatch, workers: int) -> None:
        self._score_batch, self._workers = score, workers
        self._pool = process_pool(workers)

    def score(self, files: Iterable[FoundFile]) -> Iterator[ScoredFile]:
        """Score files; rows come in the order in which they are ready.

        Args:
            files: read as they are needed.

        Raises:
            Exception: whatever `score` raises; then no file can be scored.
        """
        remaining = iter(files)
        pending: dict[Future[list[ScanRow | None]], list[FoundFile]] = {}
        limit = self._workers * BATCHES_PER_WORKER
        while True:
            while len(pending) < limit and (batch := list(islice(remaining, FILES_PER_BATCH))):
                names = [found.name for found in batch]
                pending[self._pool.submit(_score_batch, self._score_batch, names)] = batch
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            try:
                for future in done:
                    rows = future.result()
                    yield from zip(pending.pop(future), rows, strict=True)
            except BrokenProcessPool:
                suspects = [found for batch in pending.values() for found in batch]
                pending.clear()
                self.close()
                yield from _score_one_by_one(self._score_batch, suspects)
                self._pool = process_pool(self._workers)

    def close(self) -> None:
        """End the processes; batches that wait are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def score_files(score: ScoreBatch, files: Iterable[FoundFile], workers: int) -> Iterator[ScoredFile]:
    """Score files in worker processes that end with the last file; see `ScoringPool`."""
    with closing(ScoringPool(score, workers)) as pool:
        yield from pool.score(files)


def _score_one_by_one(score: ScoreBatch, suspects: Sequence[FoundFile]) -> Iterator[ScoredFile]:
    """After a crash: score the files that were in work one at a time; a crash then belongs to one file."""
    pool = process_pool(1)
    try:
        for found in suspects:
            try:
                yield found, pool.submit(_score_batch, score, [found.name]).result()[0]
            except BrokenProcessPool:
                error = ToolFailed("the worker process died: the decoder crashed, or memory ran out")
                yield found, error_row(found.name, error)._replace(bytes=found.bytes)
                pool = process_pool(1)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _score_batch(score: ScoreBatch, names: list[str]) -> list[ScanRow | None]:
    return _once_per_process(score)(names)


@cache
def _once_per_process(score: ScoreBatch) -> ScoreBatch:
    """The first of all equal copies that a process receives: it has loaded its model."""
    return score


@dataclass(frozen=True)
class FileScorer:
    """Scores files as `deepfake predict` does; pickled as three values, and loads its model on first use.

    Attributes:
        source: the names are relative to it.
        bundle: folder of the model.
        with_sha256: add the files' digests to the rows.
    """

    source: Storage
    bundle: Path
    with_sha256: bool = False

    def __call__(self, names: Sequence[str]) -> list[ScanRow | None]:
        """Score files; a file with an error has a row too, a file that is no media file has None.

        Raises:
            ModelNotFound, BundleCorrupt, ToolFailed: the model cannot be used, so no file can be scored.
        """
        detector = self._detector
        return [self._row(detector, name) for name in names]

    @cached_property
    def _detector(self) -> Detector:
        return Detector(read_bundle(self.bundle), streams=1)  # there is a process per core

    def _row(self, detector: Detector, name: str) -> ScanRow | None:
        size = digest = None
        try:
            with self.source.media_file(name) as path:
                if path is None:
                    return None
                size, digest = path.stat().st_size, sha256_of_file(path) if self.with_sha256 else None
                row = verdict_row(name, detector.predict_file(path))
        except DetectorError as error:
            row = error_row(name, error)
        except OSError as error:
            row = error_row(name, BadInput(f"the file cannot be read: {error.strerror or error}"))
        except Exception as error:  # one unusual file must not end a scan of a million
            row = error_row(name, ToolFailed(f"{type(error).__name__}: {error}"))
        return row._replace(bytes=size, sha256=digest)
