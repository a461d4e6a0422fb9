"""Jobs from RQ's queue in Redis -> answers in Redis; the videos are decoded by a confined process without network.

A job whose worker is killed is taken up by another within half a minute; a worker that is asked to end gives it back.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Any

from redis.client import Pipeline
from redis.exceptions import RedisError
from rq import Queue, Retry
from rq.executions import Execution
from rq.job import Job as QueuedJob
from rq.serializers import JSONSerializer
from rq.worker import SimpleWorker

from deepfake_detector.errors import DetectorError, ToolFailed
from deepfake_detector.serving.dispatcher import error_result
from deepfake_detector.serving.errors import JobLost, TooCostly, error_body
from deepfake_detector.serving.jobs import MAX_ATTEMPTS
from deepfake_detector.serving.jobs_store import QUEUE, JobQueue, JobStore
from deepfake_detector.serving.messages import Job, JobReport, JobResult
from deepfake_detector.serving.worker_process import Watch, WorkerDied, WorkerProcess

HEARTBEAT_S, LOST_AFTER_S = 2.0, 12  # without a heartbeat for so long a worker is taken for dead
MAINTENANCE_S = 4  # between looks for jobs of dead workers
IDLE_S = 5  # how long RQ waits for a job before it sends a heartbeat
RQ_MARGIN_S = 15  # RQ waits so much less than a worker's lifetime without heartbeats
REPORT_S = 0.5  # between notes of the progress, and looks for whether the job was deleted
STORE_RETRY_S, STORE_TIMEOUT_S = 1.0, 60.0  # while Redis does not answer, an answer is kept
DECODER_ATTEMPTS = 2  # of decoding processes, as in `worker_pool`

logger = logging.getLogger("deepfake")


class JobDeleted(Exception):  # noqa: N818
    """A client deleted the job while it ran."""


class WorkerStopping(Exception):  # noqa: N818
    """This process is asked to end."""


class VideoDecoder:
    """One confined process that decodes and scores, started anew when it ends.

    Args:
        bundle: folder of the model.
    """

    def __init__(self, bundle: Path) -> None:
        self._bundle = bundle
        self.uploads = Path(tempfile.mkdtemp(prefix="deepfake-jobs-")).resolve()
        self._process: WorkerProcess | None = None

    def start(self) -> WorkerProcess:
        """Return the process; start one unless one runs and answers.

        Raises:
            ToolFailed: it does not start.
        """
        if self._process is None or not self._process.ping():
            self._end_process()
            self._process = WorkerProcess(self._bundle, self.uploads)
            logger.info("decoding process", extra={"sandbox": self._process.sandbox.model_dump()})
        return self._process

    def run(self, job: Job, file: IO[bytes], watch: Watch) -> JobResult:
        """Analyse a file; an error of the file becomes a result. What `watch` raises ends the process and is raised."""
        try:
            for _ in range(DECODER_ATTEMPTS):
                try:
                    return self.start().run(job, file, watch)
                except WorkerDied as error:
                    logger.warning("the decoding process died during a job", extra={"error": str(error)})
                    self._end_process()
            message = "this video ended two processes: it crashes a decoder or needs too much memory"
            return error_result(TooCostly(message, "encode it again, smaller, and send that file"))
        except TooCostly as error:
            self._end_process()
            return error_result(error)
        except BaseException:
            self._end_process()
            raise

    def stop(self) -> None:
        """End the process and delete its folder."""
        self._end_process()
        shutil.rmtree(self.uploads, ignore_errors=True)

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None


class AnalysisJob(QueuedJob):
    """A job of RQ that runs our code, whatever function, callback or webhook Redis names."""

    work: Callable[[], Retry | None]
    success_callback = failure_callback = stopped_callback = None

    def perform(self) -> Retry | None:
        """Analyse the video."""
        return self.work()

    def send_webhooks(self, status: Any, *, exc_string: str | None = None) -> None:
        """Call nobody."""


class VideoWorker(SimpleWorker):
    """RQ's worker, which does one job at a time in this process, and sends heartbeats while it does.

    Args:
        store: of the jobs.
        decoder: analyses the videos.
        on_result: called with the id of a job that got a verdict, and its report.
        alive_file: touched every few seconds, for health checks; None: no such file.
    """

    max_connection_wait_time = 5.0  # between attempts to reach Redis

    def __init__(
        self,
        store: JobStore,
        decoder: VideoDecoder,
        on_result: Callable[[str, JobReport], None] = lambda *_: None,
        alive_file: Path | None = None,
    ) -> None:
        self.store, self.decoder, self._on_result, self._alive_file = store, decoder, on_result, alive_file
        self.asked_to_stop = False
        queue = JobQueue(QUEUE, connection=store.connection, job_class=AnalysisJob, serializer=JSONSerializer)
        super().__init__(
            [queue],
            connection=store.connection,
            job_class=AnalysisJob,
            serializer=JSONSerializer,
            worker_ttl=IDLE_S + RQ_MARGIN_S,
            job_monitoring_interval=LOST_AFTER_S,
            maintenance_interval=MAINTENANCE_S,
            exception_handlers=[self._attempt_failed],
            log_job_description=False,
        )

    def execute_job(self, job: QueuedJob, queue: Queue) -> None:
        """Do one job; see `BaseWorker`."""
        assert isinstance(job, AnalysisJob)
        execution = self.prepare_execution(job)
        job.work = partial(self._analyse, job, execution)
        self.perform_job(job, queue, execution)
        self.set_state("idle")

    def get_heartbeat_ttl(self, job: QueuedJob, working_time: float = 0.0) -> int:  # noqa: ARG002  (RQ's names)
        """How long RQ waits for the next heartbeat of a job."""
        return LOST_AFTER_S

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Tell RQ, the service and health checks that this worker lives."""
        if self._alive_file is not None:
            self._alive_file.touch()  # also while Redis is away: a new process would not help
        super().heartbeat(timeout, pipeline)
        self.store.worker_alive(self.name)

    def handle_execution_ended(self, job: QueuedJob, queue: Queue, heartbeat_ttl: int) -> None:
        """Forget the attempts of lost workers: RQ 3.0 lists them for longer than it knows them, and fails there."""
        registry = job.execution_registry
        if lost := [each for each in registry.get_execution_ids() if each not in self.executions]:
            self.connection.zrem(registry.key, *lost)
        super().handle_execution_ended(job, queue, heartbeat_ttl)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Give the job back, and end; a second signal ends this process at once."""
        self.asked_to_stop = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def set_shutdown_requested_date(self) -> None:
        """Note nothing in Redis: a signal handler may have interrupted its client."""

    def teardown(self) -> None:
        """Say goodbye."""
        super().teardown()  # type: ignore[no-untyped-call]
        self.store.worker_ended(self.name)

    def _analyse(self, job: AnalysisJob, execution: Execution) -> Retry | None:
        """Analyse the video of a job and store the answer. A returned Retry has RQ queue it again."""
        order, start_s = self.store.begin(job.id), time.monotonic()
        if order is None:
            return None
        logger.info("job", extra={"job": job.id[:8], "event_kind": "started"})
        with self._heartbeats(job, execution), tempfile.TemporaryFile(dir=self.decoder.uploads) as file:
            try:
                if not self.store.read_video(job.id, file, self._check_stop):
                    result = error_result(JobLost("Redis no longer has the video", "send it again"))
                else:
                    result = self.decoder.run(order, file, self._watch(job.id))
            except WorkerStopping:
                return Retry(max=1_000_000, enqueue_at_front=True)  # not its fault: as often as it takes
            except JobDeleted:
                return None
            except ToolFailed as error:  # the model is damaged, or this machine has no memory
                logger.error("no decoding process could start", extra={"error": str(error)})
                raise
            self._finish(job.id, result, time.monotonic() - start_s)
        return None

    def _finish(self, job_id: str, result: JobResult, seconds: float) -> None:
        deadline_s = time.monotonic() + STORE_TIMEOUT_S
        while True:
            try:
                stored = self.store.finish(job_id, result.report.status, result.body, seconds)
                break
            except RedisError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(STORE_RETRY_S)
        report = result.report
        fields = {"job": job_id[:8], "status": report.status, "verdict": report.verdict or report.error_code}
        logger.info("job", extra=fields | {"seconds": round(seconds, 2), "event_kind": "ended", "stored": stored})
        if report.traceback:
            logger.error("processing failed", extra={"job": job_id[:8], "traceback": report.traceback})
        if stored and report.status == 200:
            self._on_result(job_id, report)

    def _watch(self, job_id: str) -> Watch:
        progress, reported_s = 0.0, 0.0

        def watch(new: float | None) -> None:
            nonlocal progress, reported_s
            self._check_stop()
            progress = progress if new is None else new
            if time.monotonic() - reported_s < REPORT_S:
                return
            reported_s = time.monotonic()
            try:
                known = self.store.report(job_id, progress)
            except RedisError:  # the answer is what counts: `_finish` tries again
                return
            if not known:
                raise JobDeleted

        return watch

    def _check_stop(self) -> None:
        if self.asked_to_stop:
            raise WorkerStopping

    @contextmanager
    def _heartbeats(self, job: QueuedJob, execution: Execution) -> Iterator[None]:
        """Send heartbeats from a thread of their own: starting a decoding process may take long."""
        done = threading.Event()

        def send() -> None:
            while not done.wait(HEARTBEAT_S):
                try:
                    self.maintain_heartbeats(job, execution)
                except RedisError as error:
                    logger.warning("Redis does not answer", extra={"error": str(error)})

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _attempt_failed(self, job: QueuedJob, *_: Any) -> None:
        """End a job whose worker ended, or that raised an error, too often."""
        if job.should_retry:
            logger.warning("a job is tried again", extra={"job": job.id[:8], "attempts_left": job.retries_left})
            return
        error: DetectorError = JobLost(
            f"{MAX_ATTEMPTS} workers that had the job ended without an answer", "encode the video again, and send that"
        )
        self.store.finish(job.id, error.http_status, error_body(error), 0.0)
