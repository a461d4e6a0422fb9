"""Items made one after another -> what a function makes of each, in their order, while the next are being made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def overlapped(work: Callable[[Item], Made], items: Iterable[Item], threads: int) -> Iterator[Made]:
    """Map `work` over items in threads beside the one that makes the items.

    At most one item per thread waits, so that few are held, however fast they are made.

    Args:
        work: safe to call from several threads; its answer must not depend on the order of calls.
        items: made in the caller's thread.
        threads: 1 for none beside the caller's.
    """
    if threads < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        running: deque[Future[Made]] = deque()
        for item in items:
            running.append(pool.submit(work, item))
            if len(running) > 2 * threads:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
