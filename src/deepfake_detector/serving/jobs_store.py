"""Jobs, their videos and results in Redis, under limits and with an expiry; RQ's queue says which job comes next.

Keys: `deepfake:job:ID` (hash), `deepfake:video:ID` (list of chunks), `deepfake:result:ID` (JSON of the answer),
`deepfake:unfinished` and `deepfake:results` (sorted sets: what counts against the limits, and until when),
`deepfake:totals` (hash), `deepfake:workers` (sorted set: when each was last heard of), and RQ's own, `rq:*`. The keys
of a job expire by themselves.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import IO, Any, cast

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry as ReconnectRetry
from rq import Queue, Retry
from rq.job import Job as QueuedJob
from rq.serializers import JSONSerializer

from deepfake_detector.serving.errors import JobNotFound, QueueUnavailable, StorageFull, TooBusy
from deepfake_detector.serving.jobs import MAX_ATTEMPTS, JobState, VideoJob, is_job_id, new_job_id
from deepfake_detector.serving.jobs_metrics import OUTCOMES, JobCounts
from deepfake_detector.serving.messages import MAX_UNFINISHED, ErrorDetail, Job
from deepfake_detector.serving.options import ServingOptions
from deepfake_detector.serving.upload import MIB
from deepfake_detector.serving.worker_process import LONG_TIMEOUT_S

QUEUE = "deepfake"
FUNCTION = "deepfake_detector.serving.jobs_worker"  # RQ wants a name; a worker runs nothing but its own code
PREFIX = "deepfake:"
UNFINISHED, RESULTS, TOTALS, WORKERS = (PREFIX + name for name in ("unfinished", "results", "totals", "workers"))
CHUNK_BYTES, CHUNKS_AT_ONCE = MIB, 8
STORING_S = 300  # what a service that ends while it stores a video leaves behind is deleted then
RETRY_AFTER_S = 60.0  # of a full queue
WORKER_LOST_S = 30.0
EXECUTION_S = 2 * LONG_TIMEOUT_S + 600  # RQ ends a job then; the decoding process has its own limits
FAILED_S = 60  # how long RQ keeps what it notes of a failed job; the answer is ours
NO_SUCH_JOB = ("no such job: it was deleted, or its time is over", "send the video again")

# May a job of ARGV[4] bytes of the client ARGV[5] come? Limits: ARGV[6] jobs, ARGV[7] of a client, ARGV[8] bytes.
# It is counted as ARGV[3] for ARGV[1] seconds if ARGV[2] is 1.
_ADMIT = """
local now = tonumber(redis.call('TIME')[1])
local jobs, own, bytes = 0, 0, 0
for _, key in ipairs(KEYS) do redis.call('ZREMRANGEBYSCORE', key, '-inf', now) end
for _, member in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  bytes = bytes + tonumber(string.match(member, ':(%d+)$'))
end
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local size, client = string.match(member, '^[^:]*:(%d+):(.*)$')
  jobs, bytes = jobs + 1, bytes + tonumber(size)
  if client == ARGV[5] then own = own + 1 end
end
if own >= tonumber(ARGV[7]) then return {'client', own} end
if jobs >= tonumber(ARGV[6]) then return {'queue', jobs} end
if bytes + tonumber(ARGV[4]) > tonumber(ARGV[8]) then return {'bytes', bytes} end
if ARGV[2] == '1' then redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), ARGV[3]) end
return {'', jobs}
"""
# Writes the field ARGV[1] unless the job was deleted or has ended; says whether it did.
_UPDATE = """
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HEXISTS', KEYS[1], 'code') == 1 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""
# Stores the answer ARGV[2] with the HTTP status ARGV[1] for ARGV[3] ms and deletes the video, in one step.
_FINISH = """
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HEXISTS', KEYS[1], 'code') == 1 then return 0 end
redis.call('HSET', KEYS[1], 'code', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('UNLINK', KEYS[3])
redis.call('ZREM', KEYS[4], redis.call('HGET', KEYS[1], 'slot'))
redis.call('HSET', KEYS[1], 'result_slot', ARGV[6])
redis.call('ZADD', KEYS[6], redis.call('TIME')[1] + ARGV[3] / 1000, ARGV[6])
redis.call('HINCRBY', KEYS[5], ARGV[4], 1)
redis.call('HINCRBYFLOAT', KEYS[5], 'seconds', ARGV[5])
return 1
"""


class JobQueue(Queue):
    """RQ's queue, whose lock for maintenance expires soon when the worker that holds it is killed."""

    def acquire_maintenance_lock(self) -> bool:
        """Take the lock; another worker may hold it."""
        return bool(self.connection.set(self.registry_cleaning_key, 1, nx=True, ex=30))


@contextmanager
def redis_errors() -> Iterator[None]:
    """Raise the errors of Redis as those of the service.

    Raises:
        StorageFull: Redis has no memory left.
        QueueUnavailable: it does not answer, or refuses the password.
    """
    try:
        yield
    except redis.exceptions.RedisError as error:
        if isinstance(error, redis.exceptions.OutOfMemoryError) or "OOM" in str(error):
            raise StorageFull("Redis has no memory left for videos", "retry later; docs/serving.md: jobs") from error
        message = f"Redis, which holds the jobs, does not answer ({type(error).__name__})"
        raise QueueUnavailable(message, "retry later; the operator has to look at Redis") from error


class JobStore:
    """All jobs of a service, shared by its replicas and workers; threads may share it.

    Args:
        options: settings of the service, with an address of Redis.
    """

    def __init__(self, options: ServingOptions) -> None:
        assert options.redis is not None
        self.options = options
        self.kept_ms = int(options.job_hours * 3_600_000)
        retry = ReconnectRetry(ExponentialBackoff(cap=0.5, base=0.1), 1)
        self.connection = redis.Redis.from_url(
            options.redis.get_secret_value(), socket_connect_timeout=2, socket_timeout=20, retry=retry
        )
        self.queue = JobQueue(QUEUE, connection=self.connection, serializer=JSONSerializer)
        self._admit, self._update, self._finish = map(self.connection.register_script, (_ADMIT, _UPDATE, _FINISH))

    def check_room(self, size: int, client: str) -> None:
        """Check that a video of so many bytes would be accepted from this client.

        Raises:
            TooBusy: there are too many jobs, or too many bytes of videos.
            QueueUnavailable: see `redis_errors`.
        """
        self._take_slot("", size, client, take=False)

    def submit(self, job: Job, file: IO[bytes], client: str, owner: str = "") -> str:
        """Store a video and queue its job; return the job's id.

        Args:
            job: how to analyse it.
            file: with its content.
            client: who has a share of the queue: a network address, or the name of a key.
            owner: name of the key that is needed to read and delete it; "": none.

        Raises:
            TooBusy: see `check_room`.
            StorageFull, QueueUnavailable: see `redis_errors`.
        """
        job_id, size = new_job_id(), file.seek(0, 2)
        file.seek(0)
        slot = self._take_slot(job_id, size, client, take=True)
        try:
            with redis_errors():
                self._store_video(job_id, file)
                self._enqueue(job_id, job, {"slot": slot, "owner": owner})
        except BaseException:
            with suppress(redis.exceptions.RedisError):
                self.connection.unlink(*_keys(job_id))
                self.connection.zrem(UNFINISHED, slot)
            raise
        return job_id

    def describe(self, job_id: str, owner: str = "") -> tuple[VideoJob, bytes | None]:
        """Return the state of a job, and the JSON of its verdict if it has one.

        Raises:
            JobNotFound: there is no such job.
            QueueUnavailable: see `redis_errors`.
        """
        key, _, result_key = _keys(job_id)
        with redis_errors():
            pipeline = self.connection.pipeline()
            pipeline.hgetall(key)
            pipeline.pttl(key)
            pipeline.hget(QueuedJob.key_for(job_id), "status")
            pipeline.lpos(self.queue.key, job_id)
            pipeline.get(result_key)
            fields, left_ms, queue_state, ahead, body = pipeline.execute()
        expired = not fields or (b"code" in fields and body is None)
        if not is_job_id(job_id) or expired or fields[b"owner"].decode() != owner:
            raise JobNotFound(*NO_SUCH_JOB)
        state = _state(fields, queue_state)
        answer = VideoJob(
            id=job_id,
            status=state,
            progress=_progress(state, float(fields.get(b"progress", 0))),
            ahead=ahead if state == "queued" else None,
            created_at=_iso(float(fields[b"created"])),
            expires_at=_iso(time.time() + left_ms / 1000),
            error=ErrorDetail.model_validate(json.loads(body)["error"]) if state == "failed" and body else None,
        )
        return answer, body if state == "finished" else None

    def delete(self, job_id: str, owner: str = "") -> None:
        """Delete a job with its video and result; a worker that has begun it stops.

        Raises:
            JobNotFound: there is no such job.
            QueueUnavailable: see `redis_errors`.
        """
        with redis_errors():
            names = "slot", "code", "owner", "result_slot"
            found: Any = self.connection.hmget(_keys(job_id)[0], *names)
            slot, ended, known_owner, result_slot = found
            if slot is None or known_owner is None or known_owner.decode() != owner:
                raise JobNotFound(*NO_SUCH_JOB)
            pipeline = self.connection.pipeline()
            pipeline.unlink(*_keys(job_id))
            pipeline.zrem(UNFINISHED, slot)
            if ended is None:
                pipeline.hincrby(TOTALS, "deleted", 1)
            else:
                pipeline.zrem(RESULTS, result_slot)
            pipeline.lrem(self.queue.key, 1, job_id)
            was_queued = pipeline.execute()[-1]
            if was_queued:  # else the worker that has it finds nothing to do, and RQ deletes what it noted
                self.connection.delete(QueuedJob.key_for(job_id))

    def begin(self, job_id: str) -> Job | None:
        """Return what to do for a job that was taken from the queue; None: it was deleted or is done."""
        if not self.report(job_id, 0.0):  # an earlier attempt may have got further
            return None
        job = self.connection.hget(_keys(job_id)[0], "job")
        return None if job is None else Job.model_validate_json(job)

    def read_video(self, job_id: str, file: IO[bytes], between: Callable[[], None]) -> bool:
        """Copy the video of a job into a file; False unless all of it is there. `between` follows each chunk."""
        (fields, key, _), number = _keys(job_id), 0
        slot: Any = self.connection.hget(fields, "slot")
        while chunk := self.connection.lindex(key, number):
            file.write(cast(bytes, chunk))
            number += 1
            between()
        file.flush()
        # It may expire, or be evicted, between two chunks: what was read until then is no video.
        return slot is not None and 0 < file.tell() == int(slot.split(b":")[1])

    def report(self, job_id: str, progress: float) -> bool:
        """Note the progress of a job, 0 to 1; False: it was deleted or has ended."""
        return bool(self._update(keys=[_keys(job_id)[0]], args=["progress", round(progress, 3)]))

    def finish(self, job_id: str, status: int, body: bytes, seconds: float) -> bool:
        """Store the answer of a job and delete its video; False: the job was deleted or has an answer.

        Args:
            job_id: of the job.
            status: HTTP status that a request would get.
            body: of the answer, JSON.
            seconds: since a worker took it.
        """
        outcome = "finished" if status == 200 else "failed"
        key, video_key, result_key = _keys(job_id)
        keys = [key, result_key, video_key, UNFINISHED, TOTALS, RESULTS]
        result_slot = f"{job_id}:{len(body)}"
        args: list[bytes | str | int | float] = [status, body, self.kept_ms, outcome, round(seconds, 3), result_slot]
        return bool(self._finish(keys=keys, args=args))

    def worker_alive(self, name: str) -> None:
        """Note that a worker runs."""
        now_s = time.time()
        pipeline = self.connection.pipeline()
        pipeline.zadd(WORKERS, {name: now_s})
        pipeline.zremrangebyscore(WORKERS, "-inf", now_s - 10 * WORKER_LOST_S)
        pipeline.execute()

    def worker_ended(self, name: str) -> None:
        """Note that a worker has ended."""
        self.connection.zrem(WORKERS, name)

    def counts(self) -> JobCounts:
        """Count jobs and workers.

        Raises:
            QueueUnavailable: see `redis_errors`.
        """
        with redis_errors():
            pipeline = self.connection.pipeline()
            pipeline.llen(self.queue.key)
            pipeline.zcard(self.queue.started_job_registry.key)
            pipeline.zrangebyscore(UNFINISHED, time.time(), "+inf")
            pipeline.hgetall(TOTALS)
            pipeline.zcount(WORKERS, time.time() - WORKER_LOST_S, "+inf")
            queued, running, unfinished, totals, workers = pipeline.execute()
        return JobCounts(
            queued=queued,
            running=running,
            ended={outcome: int(totals.get(outcome.encode(), 0)) for outcome in OUTCOMES},
            seconds=float(totals.get(b"seconds", 0)),
            workers=workers,
            stored_bytes=sum(int(member.split(b":")[1]) for member in unfinished),
        )

    def _take_slot(self, job_id: str, size: int, client: str, take: bool) -> str:
        digest = hashlib.blake2b(client.encode(), digest_size=8).hexdigest()  # no addresses in Redis
        slot, options = f"{job_id}:{size}:{digest}", self.options
        limits = options.job_queue, options.own_jobs, options.job_store_mib * MIB
        args: list[str | int] = [STORING_S, int(take), slot, size, digest, *limits]
        with redis_errors():
            full, used = self._admit(keys=[UNFINISHED, RESULTS], args=args)
        if full:
            reasons = {
                b"client": f"{used} jobs of yours wait or are analysed, the limit of this service",
                b"queue": f"{used} jobs wait or are analysed, the limit of this service",
                b"bytes": f"{used // MIB:,} MiB of videos and results are kept, and this one does not fit",
            }
            raise TooBusy(reasons[full], "retry after the seconds in Retry-After", RETRY_AFTER_S)
        return slot

    def _store_video(self, job_id: str, file: IO[bytes]) -> None:
        key = _keys(job_id)[1]
        while chunks := [chunk for _ in range(CHUNKS_AT_ONCE) if (chunk := file.read(CHUNK_BYTES))]:
            pipeline = self.connection.pipeline(transaction=False)
            for chunk in chunks:
                pipeline.rpush(key, chunk)
            pipeline.expire(key, STORING_S)
            pipeline.execute()

    def _enqueue(self, job_id: str, job: Job, names: dict[str, str]) -> None:
        (key, video_key, _), now_s = _keys(job_id), time.time()
        pipeline = self.connection.pipeline()
        self.queue.enqueue_call(  # first: RQ begins the transaction
            FUNCTION,
            job_id=job_id,
            timeout=int(EXECUTION_S),
            result_ttl=0,
            ttl=max(1, self.kept_ms // 1000),
            failure_ttl=FAILED_S,
            description=QUEUE,
            retry=Retry(max=MAX_ATTEMPTS - 1, enqueue_at_front=True),
            pipeline=pipeline,
        )
        fields: dict[Any, Any] = {"job": job.model_dump_json(), "created": now_s, **names}
        pipeline.hset(key, mapping=fields)
        pipeline.pexpire(key, self.kept_ms)
        pipeline.pexpire(video_key, self.kept_ms)
        pipeline.zadd(UNFINISHED, {names["slot"]: now_s + self.kept_ms / 1000})
        pipeline.execute()


def _keys(job_id: str) -> tuple[str, str, str]:
    """Keys of a job: its fields, its video, its result."""
    return f"{PREFIX}job:{job_id}", f"{PREFIX}video:{job_id}", f"{PREFIX}result:{job_id}"


def _state(fields: dict[bytes, bytes], queue_state: bytes | None) -> JobState:
    if (code := fields.get(b"code")) is not None:
        return "finished" if code == b"200" else "failed"
    return "running" if queue_state == b"started" else "queued"


def _progress(state: JobState, reported: float) -> float:
    """Progress of a job; what an earlier attempt reported of one that waits again does not count."""
    return {"finished": 1.0, "queued": 0.0}.get(state, min(reported, MAX_UNFINISHED))


def _iso(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")
