"""Processes that do jobs: what they answer, and what happens to a job when they are killed, stopped or misled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.verdict import VideoVerdict
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving.jobs import VideoJob
from deepfake_detector.serving.jobs_store import JobStore
from deepfake_detector.serving.jobs_worker import HEARTBEAT_S, LOST_AFTER_S, MAINTENANCE_S
from deepfake_detector.serving.messages import Job
from deepfake_detector.serving.options import ServingOptions
from tests.service_process import running_service
from tests.serving.job_services import WorkerCommand, wait_for, write_long_clip

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]
STOP_S = 20.0  # 1 s on an idle machine
Start = Callable[[], WorkerCommand]


@pytest.fixture
def store(redis_url: str) -> JobStore:
    return JobStore(ServingOptions(redis=redis_url))


@pytest.fixture
def start(redis_url: str, tiny_bundle: Bundle, tmp_path: Path) -> Iterator[Start]:
    """Returns a function that starts a worker, which ends with the test."""
    workers: list[WorkerCommand] = []

    def start() -> WorkerCommand:
        workers.append(WorkerCommand(tiny_bundle.path, redis_url, tmp_path / f"worker-{len(workers)}"))
        return workers[-1]

    yield start
    for worker in workers:
        worker.end()


@pytest.fixture(scope="module")
def long_clip(red_portrait: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_long_clip(tmp_path_factory.mktemp("long") / "long.mp4", red_portrait)


def submit(store: JobStore, path: Path) -> str:
    job = Job(kind="video", long=True, max_bytes=2**29)
    with path.open("rb") as file:
        return store.submit(job, file, "a client")


def wait_for_end(store: JobStore, job_id: str) -> tuple[VideoJob, dict[str, Any]]:
    def ended() -> Any:
        answer, verdict = store.describe(job_id)
        return (answer, verdict) if answer.status in ("finished", "failed") else None

    answer, verdict = wait_for(ended)
    return answer, json.loads(verdict) if verdict else {}


def wait_for_progress(store: JobStore, job_id: str) -> float:
    """Wait until a worker is in the middle of a video."""
    return float(wait_for(lambda: 0 < store.describe(job_id)[0].progress < 1 and store.describe(job_id)[0].progress))


def has_ended(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "\nState:\tZ" in status.read_text()


def test_a_worker_answers_as_the_route_does_and_survives_junk_and_deletion(
    store: JobStore, start: Start, tiny_bundle: Bundle, clip: Path, long_clip: Path, tmp_path: Path, redis_url: str
) -> None:
    worker = start()
    (junk := tmp_path / "junk").write_bytes(b"no video" * 1000)
    first, refused, last = submit(store, clip), submit(store, junk), submit(store, clip)
    answer, verdict = wait_for_end(store, first)
    assert VideoVerdict.model_validate(verdict) == Detector(tiny_bundle).predict_video(clip)
    answer, verdict = wait_for_end(store, refused)
    assert (answer.status, answer.error and answer.error.code, verdict) == ("failed", "unreadable_video", {})
    assert wait_for_end(store, last)[0].status == "finished"
    assert store.connection.keys("deepfake:video:*") == []
    wait_for(lambda: store.connection.keys("rq:job:*") == [])
    assert store.counts().workers == 1

    _check_the_client_of_the_guide(redis_url, tiny_bundle, clip, tmp_path)
    (child,) = worker.children  # it decodes, and does not know where Redis is
    assert b"DEEPFAKE_SERVE_REDIS" not in Path(f"/proc/{child}/environ").read_bytes()
    _check_what_redis_names(store, tmp_path / "made-by-a-job")
    _check_deletion(store, worker, long_clip, clip)
    assert has_ended(child)
    (child,) = worker.children
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(STOP_S) == 0
    assert has_ended(child)
    assert store.counts().workers == 0
    assert not [line for line in worker.log.read_text().splitlines() if not line.startswith("{")]


def _check_the_client_of_the_guide(redis_url: str, bundle: Bundle, clip: Path, folder: Path) -> None:
    """docs/examples/jobs_client.py against BentoML's whole application, which needs a token."""
    example = REPOSITORY / "docs" / "examples" / "jobs_client.py"
    assert example.read_text(encoding="utf-8") in (REPOSITORY / "docs" / "jobs.md").read_text(encoding="utf-8")
    token = {"DEEPFAKE_SERVE_TOKEN": "a-token-of-some-length"}
    variables = token | {"DEEPFAKE_SERVE_REDIS": redis_url, "DEEPFAKE_SERVE_WORKERS": "1", "DEEPFAKE_SERVE_SPARES": "0"}
    service = Path(__file__).with_name("serve_bento.py")
    with running_service(service, bundle.path, folder / "service.log", variables) as address:
        command = [sys.executable, str(example), address, str(clip)]
        done = subprocess.run(command, env=os.environ | token, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("video: fake 0.")


def _check_what_redis_names(store: JobStore, victim: Path) -> None:
    """Who can write to Redis can queue jobs, and no more: no function or callback of theirs runs."""
    for name in ("function", "success_callback", "failure_callback"):
        queued = store.queue.create_job("os.mkdir", args=(str(victim),), job_id=name, result_ttl=0)
        if name != "function":
            setattr(queued, f"_{name}_name", "os.mkdir")
        store.queue.enqueue_job(queued)
    wait_for(lambda: store.connection.keys("rq:job:*") == [])
    assert not victim.exists()


def _check_deletion(store: JobStore, worker: WorkerCommand, long_clip: Path, clip: Path) -> None:
    """A running job that is deleted ends, its process with it, and the next one begins."""
    job_id, following = submit(store, long_clip), submit(store, clip)
    wait_for_progress(store, job_id)
    store.delete(job_id)
    assert store.connection.keys("deepfake:video:*") == [f"deepfake:video:{following}".encode()]
    assert wait_for_end(store, following)[0].status == "finished"
    wait_for(lambda: store.connection.keys(f"*{job_id}*") == [])
    assert store.counts().ended == {"finished": 4, "failed": 1, "deleted": 1}


def test_a_job_whose_worker_is_killed_is_taken_up_by_another(store: JobStore, start: Start, long_clip: Path) -> None:
    first = start()
    job_id = submit(store, long_clip)
    wait_for_progress(store, job_id)
    (child,) = first.children
    first.process.kill()
    wait_for(lambda: has_ended(child))  # nobody decodes on without its parent
    second = start()
    answer, verdict = wait_for_end(store, job_id)
    assert (answer.status, verdict["verdict"]) == ("finished", "fake")
    assert len(verdict["timeline"]) == 128  # one frame in 37.5 s: 16 in ten minutes
    wait_for(lambda: store.connection.keys("rq:job:*") == [])
    assert '"level": "error"' not in second.log.read_text()
    assert "only the first" not in " ".join(verdict["reasons"])
    assert LOST_AFTER_S >= 4 * HEARTBEAT_S
    assert MAINTENANCE_S < LOST_AFTER_S


def test_a_worker_that_is_asked_to_end_gives_its_job_back(store: JobStore, start: Start, long_clip: Path) -> None:
    first = start()
    job_id = submit(store, long_clip)
    wait_for_progress(store, job_id)
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(STOP_S) == 0
    assert (store.describe(job_id)[0].status, store.describe(job_id)[0].ahead) == ("queued", 0)
    second = start()
    wait_for_progress(store, job_id)
    (child,) = second.children
    os.kill(child, signal.SIGKILL)  # as a video does that crashes a decoder
    assert wait_for_end(store, job_id)[0].status == "finished"
    assert "the decoding process died" in second.log.read_text()
