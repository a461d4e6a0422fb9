"""Requests -> jobs for the worker pool, within a queue of limited capacity; a full queue means 429 with Retry-After."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, TypeVar

from deepfake_detector.errors import DetectorError, needs_extra
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving.api_keys import ApiKeys
from deepfake_detector.serving.errors import NotReady, TooBusy, error_body
from deepfake_detector.serving.feedback_intake import FeedbackIntake
from deepfake_detector.serving.jobs import job_limits
from deepfake_detector.serving.jobs_metrics import JobMetrics
from deepfake_detector.serving.messages import Job, JobReport, JobResult, MediaKind
from deepfake_detector.serving.openapi import About, ModelIdentity, describe_served_model
from deepfake_detector.serving.options import ServingOptions
from deepfake_detector.serving.telemetry import Metrics, open_prediction_log
from deepfake_detector.serving.upload import UploadStore
from deepfake_detector.serving.worker_pool import WorkerPool

if TYPE_CHECKING:
    from deepfake_detector.serving.jobs_store import JobStore

AVERAGE_WEIGHT = 0.2  # of the newest request in the moving average of seconds per slot
FIRST_AVERAGE_S = 0.1
MAX_RETRY_AFTER_S = 60.0
RESPONSE_TIMEOUT_S = 120.0  # from the end of the upload, with the time in the queue

Result = TypeVar("Result")

logger = logging.getLogger("deepfake")


class ClientDisconnected(Exception):  # noqa: N818
    """The client closed the connection before it had an answer."""


class Admission:
    """Counts the slots of the requests that wait or are processed; use it from one event loop.

    Args:
        capacity: slots in total.
        workers: jobs that are processed at the same time.
    """

    def __init__(self, capacity: int, workers: int) -> None:
        self.capacity, self.workers = capacity, workers
        self._admitted: dict[object, tuple[int, MediaKind]] = {}  # in the order of their admission
        self._slot_s: dict[MediaKind, float] = {}  # processing time per slot, a moving average
        self._released_s = time.monotonic()  # when slots were last released

    @property
    def in_use(self) -> int:
        """Slots that are held."""
        return sum(slots for slots, _ in self._admitted.values())

    def check(self, slots: int) -> None:
        """Check that so many slots are free.

        Raises:
            TooBusy: too few are; it estimates when they will be.
        """
        if self.in_use + slots > self.capacity:
            raise self.rejection(slots)

    @contextmanager
    def admit(self, slots: int, kind: MediaKind = "image") -> Iterator[None]:
        """Hold `slots` slots for the duration of the block.

        Raises:
            TooBusy: see `check`.
        """
        self.check(slots)
        if not self._admitted:
            self._released_s = time.monotonic()
        request = object()
        self._admitted[request] = slots, kind
        try:
            yield
        finally:
            del self._admitted[request]
            self._released_s = time.monotonic()

    def rejection(self, slots: int = 1) -> TooBusy:
        """Return the error for a request that needs `slots` slots and is not admitted."""
        message = f"{self.in_use} of {self.capacity} queue slots are in use by other requests"
        wait_s = min(self._wait_s(slots), MAX_RETRY_AFTER_S)
        return TooBusy(message, "retry after the seconds in Retry-After", wait_s)

    def record_duration(self, processing_s: float, slots: int, kind: MediaKind = "image") -> None:
        """Update the average with the processing time of a job that held `slots` slots."""
        new_s = processing_s / slots
        average_s = self._slot_s.get(kind, new_s)
        self._slot_s[kind] = average_s + AVERAGE_WEIGHT * (new_s - average_s)

    def _wait_s(self, slots: int) -> float:
        """Estimate when so many slots are free: requests end in order, the first since the last release."""
        missing, work_s = slots + self.in_use - self.capacity, 0.0
        for held, kind in self._admitted.values():
            work_s += held * self._slot_s.get(kind, FIRST_AVERAGE_S)
            missing -= held
            if missing <= 0:
                break
        return max(work_s / self.workers - (time.monotonic() - self._released_s), 0.0)


class Dispatcher:
    """Admits requests, submits their files to the worker pool, and records the results in metrics and logs.

    Args:
        bundle: the model that is served.
        identity: its name and version, and why it is served.
        options: settings of the service.
    """

    def __init__(self, bundle: Bundle, identity: ModelIdentity, options: ServingOptions) -> None:
        self.about = describe_served_model(bundle, identity).model_copy(update=_described(options))
        self.keys = ApiKeys(options.token, options.keys)
        self.feedback = None if options.feedback is None else FeedbackIntake(options.feedback, options)
        self.jobs = None if options.redis is None else open_job_store(options)
        self.root_path, self.hosts = options.root_path, options.hosts
        self.metrics = Metrics()
        self.pool = WorkerPool(bundle.path, options.workers, self.metrics.count_worker_restart, options.spares)
        self.uploads = UploadStore(self.pool.uploads)
        self.admission = Admission(options.queue, options.workers)
        self._log = open_prediction_log(options, bundle.sha256)
        self.metrics.registry.register(JobMetrics(self.jobs))
        self.metrics.set_model(bundle.sha256, identity.version, self.about.run_id, identity.name)
        self.metrics.add_gauge("deepfake_queue_slots_in_use", "queue slots in use", lambda: self.admission.in_use)
        self.metrics.add_gauge("deepfake_workers_ready", "workers that passed their self-test", lambda: self.pool.ready)

    def start(self) -> None:
        """Start the workers without waiting for them."""
        self.pool.start()
        if self.feedback is not None:
            self.feedback.start()

    def stop(self) -> None:
        """Finish the submitted jobs, then stop the workers."""
        self.pool.stop()
        if self.feedback is not None:
            self.feedback.stop()
        if self._log is not None:
            self._log.close()

    def describe(self) -> About:
        """Return the answer of GET /about: the model, and what confines the workers once one has started."""
        return self.about.model_copy(update={"sandbox": self.pool.sandbox})

    def check_ready(self) -> None:
        """Check, before a request is read, that a worker can process it.

        Raises:
            NotReady: no worker is ready.
        """
        if not self.pool.ready:
            raise NotReady("no worker has loaded the model yet", "retry in a few seconds; /readyz returns 200 then")

    def submit(self, job: Job, files: Sequence[IO[bytes]]) -> list[Future[JobResult]]:
        """Submit files for one job each; a file is closed when its future is done or cancelled."""
        try:
            return [self.pool.submit(job, file) for file in files]
        except BaseException:
            for file in files:
                file.close()
            raise

    def run(self, job: Job, files: Sequence[IO[bytes]]) -> list[JobResult]:
        """Submit files and wait, in the calling thread, for their results; an error of a file becomes a result, too."""
        return [_wait(future) for future in self.submit(job, files)]

    async def result(self, job: Job, future: Future[JobResult], request_id: str, slots: int = 1) -> JobResult:
        """Wait for the result of one file and record it; an error of the file becomes a result, too."""
        start_s = time.perf_counter()
        try:
            result = await asyncio.wrap_future(future)
        except DetectorError as error:
            result = error_result(error)
        queue_s = max(time.perf_counter() - start_s - result.report.processing_s, 0.0)
        report = result.report.model_copy(update={"steps_s": {"queue": queue_s, **result.report.steps_s}})
        self.admission.record_duration(report.processing_s, slots, job.kind)
        self.metrics.count_result(job.kind, report)
        if report.traceback:
            logger.error("processing failed", extra={"request_id": request_id, "traceback": report.traceback})
        if self._log is not None and report.status == 200:
            self._log.write(request_id, job.kind, report)
        return JobResult(report, result.body)

    async def wait_for(self, results: Awaitable[Result], disconnected: Awaitable[None]) -> Result:
        """Wait for results until the timeout or until the client disconnects; queued jobs are cancelled then.

        Raises:
            TooBusy: there was no result within RESPONSE_TIMEOUT_S.
            ClientDisconnected: the client closed the connection.
        """
        result, closed = asyncio.ensure_future(results), asyncio.ensure_future(disconnected)
        try:
            await asyncio.wait({result, closed}, timeout=RESPONSE_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            if result.done():
                return result.result()
            raise ClientDisconnected if closed.done() else self.admission.rejection()
        finally:
            result.cancel()  # a job that a worker has begun runs to its end, and its result is dropped
            closed.cancel()


def _described(options: ServingOptions) -> dict[str, object]:
    """What GET /about says of the settings."""
    logged_days = None if options.prediction_log is None else options.prediction_log_days
    return {"jobs": job_limits(options), "prediction_log_days": logged_days}


def open_job_store(options: ServingOptions) -> JobStore:
    """Open the jobs in Redis, which need packages of their own.

    Raises:
        MissingExtra: the extra `jobs` is not installed.
    """
    with needs_extra("jobs", "jobs"):
        from deepfake_detector.serving.jobs_store import JobStore
    return JobStore(options)


def _wait(future: Future[JobResult]) -> JobResult:
    try:
        return future.result()
    except DetectorError as error:
        return error_result(error)


def error_result(error: DetectorError) -> JobResult:
    """Return an error of a file as its result."""
    return JobResult(JobReport(status=error.http_status, error_code=error.code), error_body(error))
