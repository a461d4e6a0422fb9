"""Jobs and open files -> futures of results, computed by worker processes that are replaced when they end or hang."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from deepfake_detector.errors import DetectorError, ToolFailed
from deepfake_detector.serving.errors import NotReady, TooCostly, resource_error
from deepfake_detector.serving.messages import Job, JobResult, MediaKind, SandboxState
from deepfake_detector.serving.worker_process import WorkerDied, WorkerProcess

POLL_S = 0.5  # how often a thread without jobs checks that its worker is alive
RESTART_DELAY_S = 3.0  # after a worker that did not start
MAX_ATTEMPTS = 2  # per job, when its worker ends
ALL_KINDS: tuple[MediaKind, ...] = ("image", "video")

logger = logging.getLogger("deepfake")


@dataclass(frozen=True, eq=False)
class _QueuedJob:
    job: Job
    file: IO[bytes]
    future: Future[JobResult] = field(default_factory=Future)


class _JobQueue:
    """Jobs in the order of their arrival; a taker may leave those of some kinds to others."""

    def __init__(self) -> None:
        self._jobs: deque[_QueuedJob] = deque()
        self._changed = threading.Condition()

    def put(self, queued: _QueuedJob) -> None:
        with self._changed:
            self._jobs.append(queued)
            self._changed.notify_all()

    def get(self, kinds: Collection[MediaKind], timeout_s: float) -> _QueuedJob | None:
        """Take the oldest job of these kinds; None if none has come in time."""
        end_s = time.monotonic() + timeout_s
        with self._changed:
            while True:
                found = next((each for each in self._jobs if each.job.kind in kinds), None)
                if found is not None:
                    self._jobs.remove(found)
                    return found
                if (left_s := end_s - time.monotonic()) <= 0:
                    return None
                self._changed.wait(left_s)

    def has(self, kinds: Collection[MediaKind]) -> bool:
        with self._changed:
            return any(each.job.kind in kinds for each in self._jobs)


class WorkerPool:
    """Worker processes, and for each a thread that gives it one job after the other, first in, first out.

    With two workers or more the first one takes images only: videos, which take a hundred times as long, then never
    hold all of them.

    Args:
        bundle: folder of the model.
        workers: number of processes.
        on_restart: called when a worker that ended is replaced.
        spares: processes that have loaded the model and wait to replace a worker.
    """

    def __init__(
        self, bundle: Path, workers: int, on_restart: Callable[[], None] = lambda: None, spares: int = 0
    ) -> None:
        self.bundle, self.workers, self._on_restart = bundle, workers, on_restart
        self.uploads = Path(tempfile.mkdtemp(prefix="deepfake-uploads-")).resolve()
        weakref.finalize(self, shutil.rmtree, self.uploads, ignore_errors=True)
        self._jobs = _JobQueue()
        self._stopping = threading.Event()
        self._stopped = threading.Event()  # the workers have ended
        self._ready: dict[int, WorkerProcess] = {}  # by the index of their thread
        self._spares: deque[WorkerProcess] = deque()  # append and popleft are atomic
        self._sandbox: SandboxState | None = None
        self._threads = [threading.Thread(target=self._run_worker, args=(i,), daemon=True) for i in range(workers)]
        self._spares_thread = threading.Thread(target=self._keep_spares, args=(spares,), daemon=True)

    def start(self) -> None:
        """Start the workers without waiting for them; see `ready`."""
        for thread in (*self._threads, self._spares_thread):
            thread.start()

    @property
    def ready(self) -> int:
        """Number of workers that have passed their self-test, are alive and not stopped."""
        return sum(worker.alive for worker in list(self._ready.values()))

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.pid for worker in list(self._ready.values())]

    @property
    def sandbox(self) -> SandboxState | None:
        """What the kernel enforces in the workers; None until one has started."""
        return self._sandbox

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
        self._stopped.set()  # the kernel ends a worker with the thread that started it: that of the spares goes last
        if self._spares_thread.ident is not None:
            self._spares_thread.join()
        while (queued := self._jobs.get(ALL_KINDS, 0)) is not None:
            queued.future.set_exception(NotReady("the service has stopped", "retry in a few seconds"))

    def _run_worker(self, index: int) -> None:
        """Keep one worker alive and give it jobs until the pool stops."""
        kinds = ALL_KINDS[:1] if index == 0 and self.workers > 1 else ALL_KINDS
        worker: WorkerProcess | None = None
        while not (self._stopping.is_set() and (worker is None or not self._jobs.has(kinds))):
            if worker is None or not worker.alive:
                worker = self._start_worker(index, replaced=worker)
            if worker is None:
                self._stopping.wait(RESTART_DELAY_S)
                continue
            queued = self._jobs.get(kinds, POLL_S)
            if queued is not None:
                worker = self._run_job(queued, worker, index)
            elif not worker.ping():
                worker = self._start_worker(index, replaced=worker)
        if worker is not None:
            worker.kill()

    def _keep_spares(self, number: int) -> None:
        """Keep so many workers without a job, all of them responsive."""
        while not self._stopped.wait(POLL_S):
            for _ in range(len(self._spares)):
                if (spare := self._next_spare()) is not None:
                    self._spares.append(spare)
            # The workers come first: they would wait for the processor.
            complete = len(self._ready) >= self.workers and not self._stopping.is_set()
            if complete and len(self._spares) < number and (started := self._new_process()) is not None:
                self._spares.append(started)
        while self._spares:
            self._spares.popleft().kill()

    def _next_spare(self) -> WorkerProcess | None:
        """Take a spare that answers; end those that do not."""
        while True:
            try:
                spare = self._spares.popleft()
            except IndexError:
                return None
            if spare.ping():
                return spare
            spare.kill()

    def _run_job(self, queued: _QueuedJob, worker: WorkerProcess, index: int) -> WorkerProcess | None:
        """Run one job, a second time in a new worker if the first one ends; return the worker for the next job."""
        if not queued.future.set_running_or_notify_cancel():
            return worker
        for _ in range(MAX_ATTEMPTS):
            try:
                # A worker that hung before it had the file is not the file's fault.
                replacement = worker if worker.ping() else self._start_worker(index, replaced=worker)
                if replacement is None:
                    queued.future.set_exception(NotReady("the worker ended and no other could start", "retry later"))
                    return None
                worker = replacement
                queued.future.set_result(worker.run(queued.job, queued.file))
                return worker
            except WorkerDied as error:
                logger.warning("a worker died during a job", extra={"pid": worker.pid, "error": str(error)})
                worker.kill()
            except Exception as error:
                logger.warning("a job failed in the worker pool", extra={"error": str(error)})
                queued.future.set_exception(_known(error))
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
        worker = self._next_spare() or self._new_process()
        if worker is not None:
            self._ready[index] = worker
        return worker

    def _new_process(self) -> WorkerProcess | None:
        try:
            worker = WorkerProcess(self.bundle, self.uploads)
        except (DetectorError, OSError) as error:
            logger.error("a worker did not start", extra={"error": str(error)})
            return None
        if self._sandbox is None:
            self._sandbox = worker.sandbox
            level = logging.WARNING if worker.sandbox.missing else logging.INFO
            logger.log(level, "sandbox of the workers", extra={"sandbox": worker.sandbox.model_dump()})
        return worker


def _known(error: Exception) -> DetectorError:
    if isinstance(error, DetectorError):
        return error
    known = resource_error(error) if isinstance(error, OSError) else None
    return known or ToolFailed(f"{type(error).__name__} in the pool")
