"""Functions and items -> results in order, computed by worker processes or threads, with a bounded number in memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from deepfake_detector.errors import ToolFailed

Item = TypeVar("Item")
Result = TypeVar("Result")
CHUNK_ITEMS = 16  # per trip to a worker
MAX_PENDING_CHUNKS = 4  # per worker: a slow reader stops the workers, it does not fill the memory


def available_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_pool(workers: int | None = None) -> ProcessPoolExecutor:
    """The one factory of worker processes.

    Workers are spawned, because forking a process that has threads (OpenCV, TensorFlow) may hang. They use one OpenCV
    thread each, leave Ctrl-C to the parent, and end when the parent ends, killed or not.

    Args:
        workers: processes; None for one per available core.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers or available_cores(), mp_context=context, initializer=_start_worker)


def process_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Map a function over items in worker processes, one per core; results come in the order of the items.

    Args:
        function: of a module's top level, or a `partial` of one: it travels to the workers.
        items: read as they are needed.

    Raises:
        ToolFailed: a worker process died; the system ends one when memory runs out.
    """
    waiting = iter(items)
    limit = available_cores() * MAX_PENDING_CHUNKS
    with process_pool() as pool:
        pending: deque[Future[list[Result]]] = deque()
        try:
            while True:
                while len(pending) < limit and (chunk := list(islice(waiting, CHUNK_ITEMS))):
                    pending.append(pool.submit(_map_chunk, function, chunk))
                if not pending:
                    return
                yield from pending.popleft().result()
        except BrokenProcessPool as error:
            raise ToolFailed(
                "a worker process died before it had an answer", "most often memory ran out; close other programs"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # an error is reported now, not after the rest


def thread_map(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Map a function over items in threads, while the caller's thread makes the next items; results come in order.

    Args:
        function: safe to call from several threads; its result must not depend on the order of calls.
        items: made in the caller's thread; at most two per thread wait, however fast they are made.
        threads: 1 for none beside the caller's.
    """
    if threads < 2:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        running: deque[Future[Result]] = deque()
        for item in items:
            running.append(pool.submit(function, item))
            if len(running) > 2 * threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def limit_opencv_to_one_thread() -> None:
    """For processes of which there is one per core: OpenCV's threads would fight for the cores."""
    import cv2  # 30 MiB that the HTTP process and the command line do without

    cv2.setNumThreads(1)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_opencv_to_one_thread()
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """A worker that waits for work does not notice a killed parent: it would hold memory and terminal for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _map_chunk(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    return [function(item) for item in items]
