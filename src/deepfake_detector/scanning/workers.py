"""Names of files -> rows, on all cores, with a bounded number on the way; a file that kills its worker is a row too."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from itertools import islice

from deepfake_detector.errors import ToolFailed
from deepfake_detector.media.threads import use_one_thread
from deepfake_detector.scanning.row import Row, failed
from deepfake_detector.scanning.walk import Found

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
    pool = _pool(workers)
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
                pool = _pool(workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _one_by_one(work: Work, suspects: Sequence[Found]) -> Iterator[Judged]:
    """A worker died, and nobody knows over which file: whoever kills one alone is to blame."""
    pool = _pool(1)
    try:
        for found in suspects:
            try:
                yield found, pool.submit(_work, work, [found.name]).result()[0]
            except BrokenProcessPool:
                error = ToolFailed("the process that judged it died: its decoder crashed, or memory ran out")
                yield found, failed(found.name, error)._replace(bytes=found.bytes)
                pool = _pool(1)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    # spawn: forking a process that has threads may hang it.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which lets its workers finish
    use_one_thread()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot end its workers, and they would wait for it for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@cache
def _kept(work: Work) -> Work:
    """One per process: what it loaded for the first files it has for the next."""
    return work


def _work(work: Work, names: list[str]) -> list[Row | None]:
    return _kept(work)(names)
