"""Items -> results in the same order, computed on all cores, with a bounded number in memory."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from deepfake_detector.errors import ToolFailed
from deepfake_detector.media.threads import use_one_thread

Item = TypeVar("Item")
Result = TypeVar("Result")
CHUNK = 16  # items per trip to a worker
AHEAD = 4  # chunks per worker that may wait to be fetched: a slow reader stops the workers, not the memory


def in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Call a function for every item, in worker processes, one per core.

    Args:
        function: of a module's top level, or a `partial` of one: it travels to the workers.
        items: read as they are needed.

    Raises:
        ToolFailed: a worker process died; the system ends one when memory runs out.
    """
    waiting = iter(items)
    # spawn: forking a process that has threads (OpenCV, TensorFlow) may hang it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores(), mp_context=context, initializer=_begin) as pool:
        pending: deque[Future[list[Result]]] = deque()
        try:
            while True:
                while len(pending) < cores() * AHEAD and (chunk := list(islice(waiting, CHUNK))):
                    pending.append(pool.submit(_each, function, chunk))
                if not pending:
                    return
                yield from pending.popleft().result()
        except BrokenProcessPool as error:
            raise ToolFailed(
                "a worker process died before it had an answer", "most often memory ran out; close other programs"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # an error is reported now, not after the rest


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin() -> None:
    """What a worker does first."""
    use_one_thread()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker that waits for work does not notice that nobody is left to send any; it would wait, and hold memory and
    the terminal, for ever after a kill -9."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _each(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    return [function(item) for item in items]
