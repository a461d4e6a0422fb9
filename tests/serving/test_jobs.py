"""POST /jobs, GET and DELETE /jobs/ID at replicas that share a Redis, while no worker runs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from deepfake_detector.errors import SettingsError
from deepfake_detector.serving.errors import TooBusy
from deepfake_detector.serving.jobs import MAX_ATTEMPTS
from deepfake_detector.serving.jobs_store import QUEUE, JobStore
from deepfake_detector.serving.jobs_worker import AnalysisJob, VideoDecoder, VideoWorker
from deepfake_detector.serving.messages import Job
from deepfake_detector.serving.options import ServingOptions, read_options
from tests.serving.job_services import wait_for

VIDEO = {"files": {"video": ("secret-name.mp4", b"\0\0\0\x18ftypmp42 and so on")}}
LONG = Job(kind="video", long=True, max_bytes=2**20)
TOKEN, ANNA, BEN = "a-token-of-some-length", "the-key-of-anna-1", "the-key-of-ben-22"
MIB = 2**20

Replica = Callable[..., Any]


def error_of(answer: Any) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "hint"}
    return answer.status_code, error["code"]


def keys_in(address: str, pattern: str = "*") -> list[str]:
    keys: Any = redis.Redis.from_url(address).keys(pattern)
    return sorted(key.decode() for key in keys)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def open_store(address: str, **options: Any) -> JobStore:
    return JobStore(ServingOptions(redis=address, **options))


def test_without_redis_the_routes_name_the_setting(idle: Replica) -> None:
    service = idle()
    for method, path, options in (("POST", "/jobs", VIDEO), ("GET", "/jobs/x", {}), ("DELETE", "/jobs/x", {})):
        answer = service.request(method, path, **options)
        assert error_of(answer) == (404, "jobs_off")
        assert "DEEPFAKE_SERVE_REDIS" in answer.json()["error"]["hint"]
    assert service.request("GET", "/about").json()["jobs"] is None
    assert 'deepfake_jobs{state="queued"} 0.0' in service.request("GET", "/metrics").text  # alerts name it


def test_a_job_that_one_replica_takes_is_known_to_the_other(idle: Replica, redis_url: str) -> None:
    one, other = idle(redis=redis_url), idle(redis=redis_url)
    accepted = one.request("POST", "/jobs?prior=0.1", **VIDEO)
    assert accepted.status_code == 202
    job = accepted.json()
    assert (job["status"], job["progress"], job["ahead"]) == ("queued", 0.0, 0)
    assert accepted.headers["Location"].endswith(f"jobs/{job['id']}")
    found = other.request("GET", f"/jobs/{job['id']}").json()
    assert {name: found[name] for name in found if name != "expires_at"} == {
        name: job[name] for name in job if name != "expires_at"
    }
    assert other.request("POST", "/jobs", **VIDEO).json()["ahead"] == 1
    assert other.dispatcher.jobs.begin(job["id"]) == Job(kind="video", prior=0.1, long=True, max_bytes=512 * MIB)


def test_neither_file_names_nor_addresses_are_stored(idle: Replica, redis_url: str) -> None:
    service = idle(redis=redis_url)
    job_id = service.request("POST", "/jobs", **VIDEO).json()["id"]
    client = redis.Redis.from_url(redis_url)
    stored = [client.dump(key) or b"" for key in keys_in(redis_url)]
    assert any(job_id.encode() in each for each in stored)
    assert not [each for each in stored if b"secret-name" in each or b"127.0.0.1" in each]


def test_a_redirected_prefix_stays_in_the_location(idle: Replica, redis_url: str) -> None:
    service = idle(redis=redis_url, root_path="/tools")
    answer = service.request("POST", "/tools/jobs", **VIDEO)
    assert answer.headers["Location"] == f"/tools/jobs/{answer.json()['id']}"


def test_the_routes_need_the_token(idle: Replica, redis_url: str) -> None:
    service = idle(redis=redis_url, token=TOKEN)
    job_id = service.request("POST", "/jobs", headers=bearer(TOKEN), **VIDEO).json()["id"]
    for method, path, options in (("POST", "/jobs", VIDEO), *((m, f"/jobs/{job_id}", {}) for m in ("GET", "DELETE"))):
        assert error_of(service.request(method, path, **options)) == (401, "unauthorized")
    assert service.request("DELETE", f"/jobs/{job_id}", headers=bearer(TOKEN)).status_code == 204


def test_a_page_of_another_site_may_neither_send_nor_delete(idle: Replica, redis_url: str) -> None:
    service = idle(redis=redis_url)
    job_id = service.request("POST", "/jobs", **VIDEO).json()["id"]
    elsewhere = {"Origin": "https://elsewhere.example"}
    assert error_of(service.request("POST", "/jobs", headers=elsewhere, **VIDEO)) == (403, "cross_site_request")
    assert error_of(service.request("DELETE", f"/jobs/{job_id}", headers=elsewhere)) == (403, "cross_site_request")
    assert service.request("GET", f"/jobs/{job_id}").status_code == 200


def test_only_the_key_that_made_a_job_may_see_and_delete_it(idle: Replica, redis_url: str) -> None:
    service = idle(redis=redis_url, keys=f"anna={ANNA},ben={BEN}", client_jobs=1)
    job_id = service.request("POST", "/jobs", headers=bearer(ANNA), **VIDEO).json()["id"]
    for method in ("GET", "DELETE"):
        assert error_of(service.request(method, f"/jobs/{job_id}", headers=bearer(BEN))) == (404, "job_not_found")
    assert error_of(service.request("POST", "/jobs", headers=bearer(ANNA), **VIDEO)) == (429, "too_busy")
    assert service.request("POST", "/jobs", headers=bearer(BEN), **VIDEO).status_code == 202
    assert service.request("GET", f"/jobs/{job_id}", headers=bearer(ANNA)).status_code == 200


@pytest.mark.parametrize("job_id", ["0" * 22, "x", "deepfake:totals", "..%2f..", "0" * 21 + "%00"])
def test_an_unknown_job_is_not_found(idle: Replica, redis_url: str, job_id: str) -> None:
    service = idle(redis=redis_url)
    for method in ("GET", "DELETE"):
        assert service.request(method, f"/jobs/{job_id}").status_code == 404


def test_a_wrong_method_gets_the_usual_error(idle: Replica, redis_url: str) -> None:
    service = idle(redis=redis_url)
    assert error_of(service.request("GET", "/jobs")) == (405, "method_not_allowed")
    assert error_of(service.request("PUT", "/jobs/x")) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("options", "query", "expected"),
    [
        ({"files": {"video": ("a", bytes(MIB + 1))}}, "", (413, "too_large")),
        ({"files": {"video": ("a", b"#EXTM3U\nhttp://127.0.0.1/x")}}, "", (415, "points_elsewhere")),
        ({"files": {"image": ("a", b"x")}}, "", (422, "bad_upload")),
        ({"content": b"x"}, "", (415, "unsupported_media_type")),
        (VIDEO, "?prior=2", (422, "bad_question")),
        (VIDEO, "?long=true", (422, "bad_question")),
    ],
)
def test_what_is_refused_leaves_nothing_in_redis(
    idle: Replica, redis_url: str, options: Any, query: str, expected: tuple[int, str]
) -> None:
    service = idle(redis=redis_url, job_upload_mib=1)
    assert error_of(service.request("POST", f"/jobs{query}", **options)) == expected
    assert keys_in(redis_url) == []


def test_each_limit_of_the_queue_is_kept(redis_url: str) -> None:
    store = open_store(redis_url, job_queue=3, client_jobs=2, job_store_mib=2)
    submitted = [store.submit(LONG, io.BytesIO(bytes(MIB // 2)), "anna") for _ in range(2)]
    with pytest.raises(TooBusy, match="2 jobs of yours") as caught:
        store.submit(LONG, io.BytesIO(b"x"), "anna")
    assert caught.value.retry_after_s >= 1
    with pytest.raises(TooBusy, match="1 MiB of videos and results are kept"):
        store.submit(LONG, io.BytesIO(bytes(MIB + 1)), "ben")
    store.submit(LONG, io.BytesIO(bytes(MIB)), "ben")
    with pytest.raises(TooBusy, match="3 jobs wait"):
        store.check_room(0, "carla")
    store.delete(submitted[0])
    store.check_room(0, "carla")
    assert (store.counts().queued, store.counts().stored_bytes) == (2, MIB // 2 + MIB)


def test_a_full_redis_is_a_full_disk_to_clients(idle: Replica, redis_url: str) -> None:
    service, client = idle(redis=redis_url), redis.Redis.from_url(redis_url)
    used = int(client.info("memory")["used_memory"])
    client.config_set("maxmemory", used + 3 * MIB)
    try:
        answer = service.request("POST", "/jobs", files={"video": ("a", bytes(20 * MIB))})
        assert error_of(answer) == (507, "storage_full")
        assert "Retry-After" in answer.headers
        wait_for(lambda: keys_in(redis_url, "deepfake:*") == [])
    finally:
        client.config_set("maxmemory", 0)


def test_a_job_and_its_video_expire(idle: Replica, redis_url: str) -> None:
    service = idle(redis=redis_url, job_hours=0.5 / 3600, job_queue=1)
    job_id = service.request("POST", "/jobs", **VIDEO).json()["id"]
    assert len(keys_in(redis_url, f"*{job_id}*")) == 3  # RQ's, ours, the video
    wait_for(lambda: keys_in(redis_url, "deepfake:job:*") + keys_in(redis_url, "deepfake:video:*") == [], 5)
    assert error_of(service.request("GET", f"/jobs/{job_id}")) == (404, "job_not_found")
    wait_for(lambda: keys_in(redis_url, f"*{job_id}*") == [], 5)
    wait_for(lambda: service.request("POST", "/jobs", **VIDEO).status_code == 202, 5)  # its place is free again


def test_a_video_whose_service_ends_while_it_is_stored_expires(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, lifetimes = open_store(redis_url), list[int]()

    def end(job_id: str, *_: Any) -> None:
        lifetimes.append(store.connection.ttl(f"deepfake:video:{job_id}"))
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "_enqueue", end)
    with pytest.raises(KeyboardInterrupt):
        store.submit(LONG, io.BytesIO(bytes(3 * MIB)), "anna")
    assert 0 < lifetimes[0] <= 300
    assert keys_in(redis_url) == []  # and if it could still clean up, nothing is left


def test_delete_removes_all_of_a_job(idle: Replica, redis_url: str) -> None:
    service = idle(redis=redis_url)
    job_id = service.request("POST", "/jobs", files={"video": ("a", bytes(5 * MIB))}).json()["id"]
    client = redis.Redis.from_url(redis_url)
    assert client.llen(f"deepfake:video:{job_id}") == 5
    answer = service.request("DELETE", f"/jobs/{job_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert keys_in(redis_url) == ["deepfake:totals", "rq:queues"]
    assert error_of(service.request("DELETE", f"/jobs/{job_id}")) == (404, "job_not_found")


def test_the_answer_takes_the_place_of_the_video(redis_url: str) -> None:
    store = open_store(redis_url, job_hours=1.0)
    job_id = store.submit(LONG, io.BytesIO(b"video"), "anna")
    assert store.report(job_id, 0.5)
    assert store.finish(job_id, 415, b'{"error": {"code": "c", "message": "m", "hint": ""}}', 2.5)
    assert not store.finish(job_id, 200, b"{}", 1.0)  # another worker was as late
    assert not store.report(job_id, 0.6)
    answer, verdict = store.describe(job_id)
    assert (answer.status, answer.error and answer.error.code, verdict) == ("failed", "c", None)
    assert keys_in(redis_url, "deepfake:video:*") == []
    assert 3590_000 < store.connection.pttl(f"deepfake:result:{job_id}") <= 3600_000
    counts = store.counts()
    assert (counts.ended, counts.seconds, counts.stored_bytes) == ({"finished": 0, "failed": 1, "deleted": 0}, 2.5, 0)


def test_results_count_until_they_are_deleted(redis_url: str) -> None:
    """Else they would fill Redis, in which nobody could end a job then."""
    store = open_store(redis_url, job_store_mib=1)
    job_id = store.submit(LONG, io.BytesIO(b"video"), "anna")
    assert store.finish(job_id, 200, bytes(MIB - 5), 1.0)
    with pytest.raises(TooBusy, match="results are kept"):
        store.submit(LONG, io.BytesIO(b"videos"), "anna")
    store.submit(LONG, io.BytesIO(b"video"), "anna")
    store.delete(job_id)
    store.submit(LONG, io.BytesIO(b"videos"), "anna")
    assert keys_in(redis_url, "deepfake:results") == []


def test_a_deleted_job_is_not_begun_and_gets_no_answer(redis_url: str) -> None:
    store = open_store(redis_url)
    job_id = store.submit(LONG, io.BytesIO(b"video"), "anna")
    store.delete(job_id)
    assert store.begin(job_id) is None
    assert not store.report(job_id, 0.5)
    assert not store.finish(job_id, 200, b"{}", 1.0)
    assert keys_in(redis_url, f"*{job_id}*") == []


def test_a_video_that_goes_while_it_is_read_is_not_taken_for_a_shorter_one(redis_url: str) -> None:
    store = open_store(redis_url)
    job_id = store.submit(LONG, io.BytesIO(bytes(3 * MIB)), "1.2.3.4")
    assert store.read_video(job_id, io.BytesIO(), lambda: None)

    def lose() -> None:
        """It expires, or is evicted, after its first chunk."""
        store.connection.delete(f"deepfake:video:{job_id}")

    assert not store.read_video(job_id, io.BytesIO(), lose)


def test_without_an_answer_of_redis_the_service_is_not_ready_for_jobs_only(idle: Replica, tmp_path: Path) -> None:
    service = idle(redis=f"unix://{tmp_path}/nothing")
    for method, path, options in (("POST", "/jobs", VIDEO), ("GET", f"/jobs/{'0' * 22}", {})):
        answer = service.request(method, path, **options)
        assert error_of(answer) == (503, "queue_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
    assert "deepfake_jobs_redis_down 1.0" in service.request("GET", "/metrics").text
    assert service.request("GET", "/about").status_code == 200


def test_metrics_and_about_tell_of_jobs(idle: Replica, redis_url: str) -> None:
    service = idle(redis=redis_url, job_hours=2, prediction_log_days=7, job_queue=10)
    service.request("POST", "/jobs", **VIDEO)
    lines = service.request("GET", "/metrics").text.splitlines()
    size = len(VIDEO["files"]["video"][1])
    for line in (
        "deepfake_jobs_redis_down 0.0",
        'deepfake_jobs{state="queued"} 1.0',
        'deepfake_jobs{state="running"} 0.0',
        'deepfake_jobs_ended_total{outcome="failed"} 0.0',
        "deepfake_job_duration_seconds_count 0.0",
        "deepfake_jobs_workers 0.0",
        f"deepfake_jobs_stored_bytes {float(size)}",
    ):
        assert line in lines
    about = service.request("GET", "/about").json()
    assert about["jobs"] == {
        "max_bytes": 512 * MIB, "max_duration_s": 14400.0, "queue": 10, "per_client": 5,
        "at_once_bytes": 200 * MIB, "at_once_s": 600.0, "kept_hours": 2.0,
    }  # fmt: skip
    assert about["prediction_log_days"] is None  # there is no such log


def test_requests_for_jobs_are_counted_under_two_names(idle: Replica, redis_url: str) -> None:
    service = idle(redis=redis_url)
    job_id = service.request("POST", "/jobs", **VIDEO).json()["id"]
    service.request("GET", f"/jobs/{job_id}")
    text = service.request("GET", "/metrics").text
    assert 'deepfake_requests_total{route="/jobs",status="202"} 1.0' in text
    assert 'deepfake_requests_total{route="/jobs/",status="200"} 1.0' in text
    assert job_id not in text


@pytest.mark.parametrize("address", ["127.0.0.1:6379", "http://127.0.0.1", ""])
def test_an_address_that_is_none_of_redis_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="DEEPFAKE_SERVE_REDIS"):
        read_options({"DEEPFAKE_SERVE_REDIS": address})


def test_the_password_of_redis_is_not_printed() -> None:
    assert "hunter2" not in repr(read_options({"DEEPFAKE_SERVE_REDIS": "redis://:hunter2@h:1/0"}))


@pytest.fixture
def worker(redis_url: str, tmp_path: Path) -> Iterator[VideoWorker]:
    """A worker that takes jobs only when the test has it do so; its decoding process never starts."""
    decoder = VideoDecoder(tmp_path)
    yield VideoWorker(open_store(redis_url), decoder)
    decoder.stop()


def lose_worker(worker: VideoWorker) -> None:
    """Take the next job, and never be heard of again."""
    found = worker.dequeue_job_and_maintain_ttl(1)
    assert found is not None
    worker.prepare_execution(found[0])
    worker.prepare_job_execution(found[0], remove_from_intermediate_queue=True)
    registry = StartedJobRegistry(QUEUE, worker.connection, job_class=AnalysisJob, serializer=JSONSerializer)
    started: Any = worker.connection.zrange(registry.key, 0, -1, withscores=True)
    ((_, score),) = started
    registry.cleanup(score + 1, worker._exc_handlers)


def test_a_job_whose_workers_are_lost_is_tried_three_times(worker: VideoWorker, redis_url: str) -> None:
    store = worker.store
    job_id, waiting = (store.submit(LONG, io.BytesIO(b"video"), "anna") for _ in range(2))
    for attempt in range(MAX_ATTEMPTS):
        assert store.describe(job_id)[0].status == "queued"
        assert store.describe(job_id)[0].ahead == 0, attempt  # before jobs that came later
        lose_worker(worker)
    answer, _ = store.describe(job_id)
    assert (answer.status, answer.error and answer.error.code) == ("failed", "job_lost")
    assert keys_in(redis_url, "deepfake:video:*") == [f"deepfake:video:{waiting}"]
    assert store.counts().ended["failed"] == 1


def test_the_result_is_the_answer_of_the_route(redis_url: str, idle: Replica) -> None:
    service = idle(redis=redis_url)
    job_id = service.request("POST", "/jobs", **VIDEO).json()["id"]
    service.dispatcher.jobs.finish(job_id, 200, json.dumps({"verdict": "real"}).encode(), 1.0)
    found = service.request("GET", f"/jobs/{job_id}").json()
    assert (found["status"], found["progress"], found["result"]) == ("finished", 1.0, {"verdict": "real"})
