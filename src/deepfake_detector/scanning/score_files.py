"""Names of files -> rows, on all cores, with a bounded number on the way; a file that kills its worker is a row too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import islice
from pathlib import Path

from deepfake_detector.errors import BadInput, DetectorError, ToolFailed
from deepfake_detector.inference.detector import Detector
from deepfake_detector.io import sha256_of_file
from deepfake_detector.model.bundle import read_bundle
from deepfake_detector.parallel import process_pool
from deepfake_detector.scanning.discovery import HEAD_BYTES, Found, owes_answer
from deepfake_detector.scanning.rows import Row, answered, failed

Work = Callable[[Sequence[str]], list[Row | None]]
Judged = tuple[Found, Row | None]
# Processes, not threads around one engine: both take 11.5 ms of processor time a picture (256 px, medians of
# interleaved rounds; scoring eight faces at once 11.2), and a decoder that crashes ends a worker instead of the scan.
CHUNK = 8  # files per trip to a worker
AHEAD = 3  # trips per worker that may wait: a slow disk for the rows stops the workers, not the memory


def judge_all(work: Work, files: Iterable[Found], workers: int) -> Iterator[Judged]:
    """Judge files as they are found, in the order in which the answers come.

    Args:
        work: hashable and picklable; see `Judge`.
        files: read as they are needed.
        workers: processes.

    Raises:
        whatever `work` raises: then no file can be judged.
    """
    waiting = iter(files)
    pending: dict[Future[list[Row | None]], list[Found]] = {}
    pool = process_pool(workers)
    try:
        while True:
            while len(pending) < workers * AHEAD and (chunk := list(islice(waiting, CHUNK))):
                pending[pool.submit(_work, work, [found.name for found in chunk])] = chunk
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            try:
                for future in done:
                    rows = future.result()
                    yield from zip(pending.pop(future), rows, strict=True)
            except BrokenProcessPool:
                suspects = [found for chunk in pending.values() for found in chunk]
                pending.clear()
                pool.shutdown(wait=True, cancel_futures=True)
                yield from _one_by_one(work, suspects)
                pool = process_pool(workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _one_by_one(work: Work, suspects: Sequence[Found]) -> Iterator[Judged]:
    """A worker died, and nobody knows over which file: whoever kills one alone is to blame."""
    pool = process_pool(1)
    try:
        for found in suspects:
            try:
                yield found, pool.submit(_work, work, [found.name]).result()[0]
            except BrokenProcessPool:
                error = ToolFailed("the process that judged it died: its decoder crashed, or memory ran out")
                yield found, failed(found.name, error)._replace(bytes=found.bytes)
                pool = process_pool(1)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@cache
def _kept(work: Work) -> Work:
    """One per process: what it loaded for the first files it has for the next."""
    return work


def _work(work: Work, names: list[str]) -> list[Row | None]:
    return _kept(work)(names)


@dataclass(frozen=True)
class Judge:
    """Judges files, each as `deepfake predict` would; travels to a worker as three values and loads its model there.

    Attributes:
        folder: the names are relative to it.
        bundle: folder of the model.
        with_sha256: put the files' digests into the rows.
    """

    folder: Path
    bundle: Path
    with_sha256: bool = False

    def __call__(self, names: Sequence[str]) -> list[Row | None]:
        """Judge files; an error is a row too, a file that is neither image nor video is None.

        Raises:
            ModelNotFound, BundleCorrupt, ToolFailed: the model cannot be used, so that no file can be judged.
        """
        detector = self._detector
        return [self._row(detector, name) for name in names]

    @cached_property
    def _detector(self) -> Detector:
        return Detector(read_bundle(self.bundle), streams=1)  # there is a process per core

    def _row(self, detector: Detector, name: str) -> Row | None:
        path = self.folder / name
        size = digest = None
        try:
            with path.open("rb") as stream:
                if not owes_answer(name, stream.read(HEAD_BYTES)):
                    return None
            size, digest = path.stat().st_size, sha256_of_file(path) if self.with_sha256 else None
            row = answered(name, detector.file(path))
        except DetectorError as error:
            row = failed(name, error)
        except OSError as error:
            row = failed(name, BadInput(f"the file cannot be read: {error.strerror or error}"))
        except Exception as error:  # one odd file must not end a scan of a million
            row = failed(name, ToolFailed(f"{type(error).__name__}: {error}"))
        return row._replace(bytes=size, sha256=digest)
