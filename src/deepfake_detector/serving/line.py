"""Requests -> places in a line of bounded length; whoever finds none is told when to come again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deepfake_detector.serving.refusals import TooBusy

MEMORY = 0.05  # share of the newest in the running mean of seconds per place


class Line:
    """Places for requests that are read, wait or are worked on; for one event loop.

    Args:
        places: in all.
        workers: places emptied at the same time.
    """

    def __init__(self, places: int, workers: int) -> None:
        self.places, self.workers = places, workers
        self.taken = 0
        self._mean_s = 0.1  # of work per place

    @contextmanager
    def hold(self, count: int) -> Iterator[None]:
        """Take `count` places for the time of the block.

        Raises:
            TooBusy: there are not so many; with an estimate of when there will be.
        """
        if self.taken + count > self.places:
            raise self.full()
        self.taken += count
        try:
            yield
        finally:
            self.taken -= count

    def full(self) -> TooBusy:
        """The answer to whoever finds no place."""
        message = f"{self.taken} of {self.places} places are taken by other requests"
        wait_s = self._mean_s * self.taken / self.workers
        return TooBusy(message, "try again after the seconds in Retry-After", min(wait_s, 60.0))

    def worked(self, seconds: float, count: int) -> None:
        """Remember how long a worker had with a request of `count` places."""
        self._mean_s += MEMORY * (seconds / count - self._mean_s)
