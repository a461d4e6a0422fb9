"""Jobs with open files -> futures of answers, worked off by one child process per core; who dies is replaced."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from deepfake_detector.errors import DetectorError, ToolFailed
from deepfake_detector.serving.child import Child, Died
from deepfake_detector.serving.refusals import NotReady, TooCostly
from deepfake_detector.serving.wire import Done, Job

CHECK_S = 0.5  # how soon an idle worker that died is replaced
AGAIN_S = 3.0  # until a worker that did not start is tried again

logger = logging.getLogger("deepfake")


@dataclass(frozen=True)
class _Order:
    job: Job
    file: IO[bytes]
    future: Future[Done] = field(default_factory=Future)


class Crew:
    """Workers, and a thread for each that hands it one job after the other, first come first served.

    Args:
        bundle: the model's folder.
        workers: how many.
        on_death: called when a worker ended that should not have.
    """

    def __init__(self, bundle: Path, workers: int, on_death: Callable[[], None] = lambda: None) -> None:
        self.bundle, self.workers, self._on_death = bundle, workers, on_death
        self._orders: queue.Queue[_Order] = queue.Queue()
        self._stopping = threading.Event()
        self._children: dict[int, Child] = {}  # by place; only those that passed their self-test
        self._foremen = [threading.Thread(target=self._lead, args=(place,), daemon=True) for place in range(workers)]

    def start(self) -> None:
        """Start the workers; `ready` says when the first can work."""
        for foreman in self._foremen:
            foreman.start()

    @property
    def ready(self) -> int:
        """How many workers have passed their self-test and live."""
        return sum(child.alive for child in list(self._children.values()))

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [child.pid for child in list(self._children.values())]

    def submit(self, job: Job, file: IO[bytes]) -> Future[Done]:
        """Have a file judged; it is closed afterwards, also when the future is cancelled while it waits.

        The future raises TooCostly (the file took too long, or ended two workers), NotReady or ToolFailed.
        """
        order = _Order(job, file)
        order.future.add_done_callback(lambda _: file.close())
        if self._stopping.is_set():
            order.future.set_exception(NotReady("the service is being stopped", "try again"))
        else:
            self._orders.put(order)
        return order.future

    def stop(self) -> None:
        """Finish what was submitted, then end the workers."""
        self._stopping.set()
        for foreman in self._foremen:
            if foreman.ident is not None:
                foreman.join()
        while not self._orders.empty():
            self._orders.get().future.set_exception(NotReady("the service was stopped", "try again"))

    def _lead(self, place: int) -> None:
        """The life of one place in the crew."""
        child: Child | None = None
        while not (self._stopping.is_set() and (child is None or self._orders.empty())):
            if child is None or not child.alive:
                child = self._hire(place, instead_of=child)
            if child is None:
                self._stopping.wait(AGAIN_S)
                continue
            try:
                order = self._orders.get(timeout=CHECK_S)
            except queue.Empty:
                continue
            child = self._carry_out(order, child, place)
        if child is not None:
            child.end()

    def _carry_out(self, order: _Order, child: Child, place: int) -> Child | None:
        """Do one job, if need be a second time; returns whoever works here from now on."""
        if not order.future.set_running_or_notify_cancel():
            return child
        for _ in range(2):
            try:
                order.future.set_result(child.do(order.job, order.file))
                return child
            except Died:
                replaced = self._hire(place, instead_of=child)
                if replaced is None:
                    order.future.set_exception(NotReady("the worker ended and no other could start", "try again"))
                    return None
                child = replaced
            except Exception as error:
                known = error if isinstance(error, DetectorError) else ToolFailed(f"{type(error).__name__} in the crew")
                logger.warning("a worker gave no answer", extra={"error": str(error)})
                order.future.set_exception(known)
                return child
        message = f"judging this {order.job.kind} ended two workers: it breaks its decoder or needs too much memory"
        order.future.set_exception(TooCostly(message, "save it anew, smaller, and send that"))
        return child

    def _hire(self, place: int, instead_of: Child | None) -> Child | None:
        """Start a worker; None, and a line in the log, when that fails."""
        self._children.pop(place, None)
        if instead_of is not None:
            logger.warning("a worker ended and is replaced", extra={"pid": instead_of.pid})
            instead_of.end()
            self._on_death()
        try:
            child = Child(self.bundle)
        except (DetectorError, OSError) as error:
            logger.error("a worker did not start", extra={"error": str(error)})
            return None
        self._children[place] = child
        return child
