"""One worker process, seen from the HTTP process: start it, give it a job and an open file, have its answer, end it."""

from __future__ import annotations

import json
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import IO

from deepfake_detector.errors import DetectorError, ToolFailed
from deepfake_detector.serving.errors import NotReady, TooCostly
from deepfake_detector.serving.messages import Done, Job, Report
from deepfake_detector.serving.options import PREFIX

START_S = 180.0  # until a worker has loaded the model: 2 s, on a machine that is overrun 40
JOB_S = {"image": 30.0, "video": 60.0}  # a picture takes 0.02 s, a video of ten minutes 2 s: thirty times as much
END_S = 5.0  # for its exit code, once its end of the line is closed


class Died(Exception):  # noqa: N818
    """The process ended while it was needed."""


class Child:
    """A running worker that has passed its self-test.

    Args:
        bundle: the model's folder.

    Raises:
        ToolFailed: it does not start, or the self-test fails.
    """

    def __init__(self, bundle: Path) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", "deepfake_detector.serving.worker"]
            # A fresh interpreter: nothing of this process (sockets, tokens, threads) is in it but one end of a pair.
            self._process = subprocess.Popen(
                [*command, str(bundle), str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._line = Connection(ours.detach())
        try:
            self._await_ready()
        except ToolFailed:
            self.end()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def do(self, job: Job, file: IO[bytes]) -> Done:
        """Have a file judged.

        Raises:
            Died: the process ended on the way.
            TooCostly: no answer in the time that a file may take; the process has been ended.
        """
        limit_s = JOB_S[job.kind]
        try:
            self._line.send_bytes(job.model_dump_json().encode())
            send_handle(self._line, file.fileno(), self.pid)
            if not self._line.poll(limit_s):
                self.end()
                raise TooCostly(f"the {job.kind} took more than {limit_s:.0f} seconds", "send a smaller or shorter one")
            return Done(Report.model_validate_json(self._line.recv_bytes()), self._line.recv_bytes())
        except (EOFError, OSError) as error:
            raise Died from error

    def end(self) -> None:
        """End the process, which has nothing to tidy up."""
        self._line.close()
        self._process.kill()
        self._process.wait()

    def _await_ready(self) -> None:
        try:
            said = self._line.recv_bytes() if self._line.poll(START_S) else None
        except (EOFError, OSError):
            code = self._process.wait(END_S)
            raise ToolFailed(f"a worker ended with {code} while it loaded the model", "see the machine's log") from None
        failure = f"nothing heard in {START_S:.0f} s" if said is None else json.loads(said).get("failure")
        if failure:
            raise ToolFailed(f"a worker did not pass its self-test: {failure}", "run `deepfake about` with the model")


def _environment() -> dict[str, str]:
    """Ours without the service's settings (the token is none of a worker's business), with the code's place."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


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
