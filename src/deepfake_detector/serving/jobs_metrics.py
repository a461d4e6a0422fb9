"""Jobs in Redis -> Prometheus metrics, read at each scrape; every replica exports the same values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from deepfake_detector.errors import DetectorError

if TYPE_CHECKING:
    from deepfake_detector.serving.jobs_store import JobStore

OUTCOMES = ("finished", "failed", "deleted")


@dataclass(frozen=True)
class JobCounts:
    """What all replicas see in Redis: jobs by state, ended jobs since Redis started, workers."""

    queued: int
    running: int
    ended: dict[str, int]  # by outcome
    seconds: float  # of the finished and failed jobs together
    workers: int
    stored_bytes: int  # of the videos of unfinished jobs


NO_JOBS = JobCounts(0, 0, dict.fromkeys(OUTCOMES, 0), 0.0, 0, 0)


class JobMetrics(Collector):
    """Collects what Redis says of jobs; where it does not answer, only that.

    Args:
        store: of the jobs; None: the service has no jobs, and all is zero, so that alerts find their metrics.
    """

    def __init__(self, store: JobStore | None) -> None:
        self._store = store

    def describe(self) -> list[Metric]:
        """Name nothing: else the registry would ask Redis when the service starts."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Read all values."""
        counts: JobCounts | None = NO_JOBS
        if self._store is not None:
            try:
                counts = self._store.counts()
            except DetectorError:
                counts = None
        missing = "1 if Redis, which holds the jobs, does not answer"
        yield GaugeMetricFamily("deepfake_jobs_redis_down", missing, value=counts is None)
        if counts is not None:
            yield from _families(counts)


def _families(counts: JobCounts) -> Iterator[Metric]:
    by_state = GaugeMetricFamily("deepfake_jobs", "jobs that have not ended", labels=["state"])
    by_state.add_metric(["queued"], counts.queued)
    by_state.add_metric(["running"], counts.running)
    yield by_state
    ended = CounterMetricFamily("deepfake_jobs_ended", "jobs that have ended, since Redis started", labels=["outcome"])
    for outcome, number in counts.ended.items():
        ended.add_metric([outcome], number)
    yield ended
    analysed = counts.ended["finished"] + counts.ended["failed"]
    duration = "time from when a worker takes a job to its answer"
    yield SummaryMetricFamily("deepfake_job_duration_seconds", duration, analysed, counts.seconds)
    yield GaugeMetricFamily("deepfake_jobs_workers", "processes that do jobs", value=counts.workers)
    stored = "size of the videos of jobs that have not ended"
    yield GaugeMetricFamily("deepfake_jobs_stored_bytes", stored, value=counts.stored_bytes)
