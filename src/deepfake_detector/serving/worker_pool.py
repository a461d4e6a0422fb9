"""Jobs and open files -> futures of results, computed by worker processes that are replaced when they end."""

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
from deepfake_detector.serving.messages import Job, JobReport, JobResult
from deepfake_detector.serving.options import PREFIX

START_TIMEOUT_S = 180.0  # to load the model: it takes 2 s, and 40 s on an overloaded machine
JOB_TIMEOUT_S = {"image": 30.0, "video": 60.0}  # an image takes 0.02 s, a video of ten minutes 2 s
EXIT_TIMEOUT_S = 5.0  # for the exit code of a worker that closed its connection
POLL_S = 0.5  # how often a thread without jobs checks that its worker is alive
RESTART_DELAY_S = 3.0  # after a worker that did not start
MAX_ATTEMPTS = 2  # per job, when its worker ends

logger = logging.getLogger("deepfake")


class WorkerDied(Exception):  # noqa: N818
    """The worker process ended during a job."""


class WorkerProcess:
    """One worker process that has passed its self-test.

    Args:
        bundle: folder of the model.

    Raises:
        ToolFailed: the process does not start, or its self-test fails.
    """

    def __init__(self, bundle: Path) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", "deepfake_detector.serving.worker"]
            # A new interpreter inherits one end of the socket pair, and no other socket, token or thread of ours.
            self._process = subprocess.Popen(
                [*command, str(bundle), str(theirs.fileno()), str(os.getpid())],
                pass_fds=[theirs.fileno()],
                env=_worker_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())
        try:
            self._wait_until_ready()
        except ToolFailed:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def run(self, job: Job, file: IO[bytes]) -> JobResult:
        """Process one file and wait for the result.

        Raises:
            WorkerDied: the process ended.
            TooCostly: there was no result within the job's timeout; the process has been killed.
        """
        timeout_s = JOB_TIMEOUT_S[job.kind]
        try:
            self._connection.send_bytes(job.model_dump_json().encode())
            send_handle(self._connection, file.fileno(), self.pid)
            if not self._connection.poll(timeout_s):
                self.kill()
                raise TooCostly(
                    f"the {job.kind} took more than {timeout_s:.0f} seconds", "send a smaller or shorter file"
                )
            report = JobReport.model_validate_json(self._connection.recv_bytes())
            return JobResult(report, self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise WorkerDied from error

    def kill(self) -> None:
        """End the process, which has nothing to clean up."""
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _wait_until_ready(self) -> None:
        try:
            message = self._connection.recv_bytes() if self._connection.poll(START_TIMEOUT_S) else None
        except (EOFError, OSError):
            code = self._process.wait(EXIT_TIMEOUT_S)
            raise ToolFailed(
                f"a worker exited with code {code} while it loaded the model", "see the system log for the reason"
            ) from None
        failure = f"no message in {START_TIMEOUT_S:.0f} s" if message is None else json.loads(message).get("failure")
        if failure:
            raise ToolFailed(f"the self-test of a worker failed: {failure}", "run `deepfake about` with the same model")


def _worker_environment() -> dict[str, str]:
    """Our environment without the service's settings (workers need no token), with our import path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return kept | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@dataclass(frozen=True)
class _QueuedJob:
    job: Job
    file: IO[bytes]
    future: Future[JobResult] = field(default_factory=Future)


class WorkerPool:
    """Worker processes, and for each a thread that gives it one job after the other, first in, first out.

    Args:
        bundle: folder of the model.
        workers: number of processes.
        on_restart: called when a worker that ended is replaced.
    """

    def __init__(self, bundle: Path, workers: int, on_restart: Callable[[], None] = lambda: None) -> None:
        self.bundle, self.workers, self._on_restart = bundle, workers, on_restart
        self._jobs: queue.Queue[_QueuedJob] = queue.Queue()
        self._stopping = threading.Event()
        self._ready: dict[int, WorkerProcess] = {}  # by the index of their thread
        self._threads = [threading.Thread(target=self._run_worker, args=(i,), daemon=True) for i in range(workers)]

    def start(self) -> None:
        """Start the workers without waiting for them; see `ready`."""
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> int:
        """Number of workers that have passed their self-test and are alive."""
        return sum(worker.alive for worker in list(self._ready.values()))

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.pid for worker in list(self._ready.values())]

    def submit(self, job: Job, file: IO[bytes]) -> Future[JobResult]:
        """Queue a file; it is closed when the future is done or cancelled.

        The future raises TooCostly (the file took too long or ended two workers), NotReady or ToolFailed.
        """
        queued = _QueuedJob(job, file)
        queued.future.add_done_callback(lambda _: file.close())
        if self._stopping.is_set():
            queued.future.set_exception(NotReady("the service is stopping", "retry in a few seconds"))
        else:
            self._jobs.put(queued)
        return queued.future

    def stop(self) -> None:
        """Finish the queued jobs, then end the workers."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        while not self._jobs.empty():
            self._jobs.get().future.set_exception(NotReady("the service has stopped", "retry in a few seconds"))

    def _run_worker(self, index: int) -> None:
        """Keep one worker alive and give it jobs until the pool stops."""
        worker: WorkerProcess | None = None
        while not (self._stopping.is_set() and (worker is None or self._jobs.empty())):
            if worker is None or not worker.alive:
                worker = self._start_worker(index, replaced=worker)
            if worker is None:
                self._stopping.wait(RESTART_DELAY_S)
                continue
            try:
                queued = self._jobs.get(timeout=POLL_S)
            except queue.Empty:
                continue
            worker = self._run_job(queued, worker, index)
        if worker is not None:
            worker.kill()

    def _run_job(self, queued: _QueuedJob, worker: WorkerProcess, index: int) -> WorkerProcess | None:
        """Run one job, a second time in a new worker if the first one ends; return the worker for the next job."""
        if not queued.future.set_running_or_notify_cancel():
            return worker
        for _ in range(MAX_ATTEMPTS):
            try:
                queued.future.set_result(worker.run(queued.job, queued.file))
                return worker
            except WorkerDied:
                replacement = self._start_worker(index, replaced=worker)
                if replacement is None:
                    queued.future.set_exception(NotReady("the worker ended and no other could start", "retry later"))
                    return None
                worker = replacement
            except Exception as error:
                known = error if isinstance(error, DetectorError) else ToolFailed(f"{type(error).__name__} in the pool")
                logger.warning("a job failed in the worker pool", extra={"error": str(error)})
                queued.future.set_exception(known)
                return worker
        message = f"this {queued.job.kind} ended two workers: it crashes a decoder or needs too much memory"
        queued.future.set_exception(TooCostly(message, "encode it again, smaller, and send that file"))
        return worker

    def _start_worker(self, index: int, replaced: WorkerProcess | None) -> WorkerProcess | None:
        """Start a worker; log the failure and return None if it does not start."""
        self._ready.pop(index, None)
        if replaced is not None:
            logger.warning("a worker ended and is replaced", extra={"pid": replaced.pid})
            replaced.kill()
            self._on_restart()
        try:
            worker = WorkerProcess(self.bundle)
        except (DetectorError, OSError) as error:
            logger.error("a worker did not start", extra={"error": str(error)})
            return None
        self._ready[index] = worker
        return worker
