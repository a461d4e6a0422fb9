"""Requests -> places in a line of bounded length; whoever finds none is told when to come again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import IO, TypeVar

from deepfake_detector.errors import DetectorError
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving.errors import NotReady, TooBusy, error_body
from deepfake_detector.serving.messages import Done, Job, Report
from deepfake_detector.serving.openapi import about
from deepfake_detector.serving.options import Options
from deepfake_detector.serving.telemetry import Metrics, PredictionLog
from deepfake_detector.serving.worker_pool import Crew

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


WAIT_S = 120.0  # for an answer, the wait in the line included

Answer = TypeVar("Answer")

logger = logging.getLogger("deepfake")


class Desk:
    """Where requests are taken in.

    Args:
        bundle: the model that answers.
        named: what is said of it: its `name`, `version` and the `reason` why it answers.
        options: the operator's.
    """

    def __init__(self, bundle: Bundle, named: dict[str, str], options: Options) -> None:
        contract = bundle.contract
        self.about = about(bundle, named)
        self.token = None if options.token is None else options.token.get_secret_value()
        self.metrics = Metrics()
        self.crew = Crew(bundle.path, options.workers, self.metrics.death)
        self.line = Line(options.line, options.workers)
        self._log = None if options.prediction_log is None else PredictionLog(options.prediction_log, bundle.sha256)
        self.metrics.serve(bundle.sha256, named["version"], contract.run_id, named["name"])
        self.metrics.watch("deepfake_line_places", "places taken in the line", lambda: self.line.taken)
        self.metrics.watch("deepfake_workers_ready", "workers that passed their self-test", lambda: self.crew.ready)

    def start(self) -> None:
        """Start the workers; returns at once."""
        self.crew.start()

    def stop(self) -> None:
        """Finish what was begun, then end the workers."""
        self.crew.stop()
        if self._log is not None:
            self._log.close()

    def check_ready(self) -> None:
        """Before a request is read.

        Raises:
            NotReady: no worker can take it.
        """
        if not self.crew.ready:
            raise NotReady("no worker has loaded the model yet", "try again in a few seconds; /readyz says when")

    def order(self, job: Job, files: Sequence[IO[bytes]]) -> list[Future[Done]]:
        """Hand files in; they are closed when they are judged, or given up."""
        try:
            return [self.crew.submit(job, file) for file in files]
        except BaseException:
            for file in files:
                file.close()
            raise

    async def judge(self, job: Job, order: Future[Done], request_id: str, places: int = 1) -> Done:
        """Wait for the answer about one file and keep the books; errors of the file are answers too."""
        start_s = time.perf_counter()
        try:
            done = await asyncio.wrap_future(order)
        except DetectorError as error:
            done = Done(report=Report(status=error.http_status, code=error.code), body=error_body(error))
        waited_s = max(time.perf_counter() - start_s - done.report.worked_s, 0.0)
        report = done.report.model_copy(update={"steps_s": {"wait": waited_s, **done.report.steps_s}})
        self.line.worked(done.report.worked_s, places)
        self.metrics.answer(job.kind, report)
        if report.failure:
            logger.error("judging failed", extra={"request_id": request_id, "traceback": report.failure})
        if self._log is not None and report.status == 200:
            self._log.write(request_id, job.kind, report)
        return Done(report=report, body=done.body)

    async def patiently(self, work: Awaitable[Answer], hung_up: Awaitable[None]) -> Answer:
        """Wait for answers, but not for ever, and not when nobody waits for them: what still waits is given up.

        Raises:
            TooBusy: no worker had time.
            ClientGone: nobody waits any more.
        """
        answer, gone = asyncio.ensure_future(work), asyncio.ensure_future(hung_up)
        try:
            await asyncio.wait({answer, gone}, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            raise ClientGone if gone.done() else self.line.full()
        finally:
            answer.cancel()  # a worker that is at it already finishes, for nobody
            gone.cancel()


class ClientGone(Exception):  # noqa: N818
    """Nobody waits for the answer any more."""
