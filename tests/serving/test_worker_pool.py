"""Real worker processes: they are confined, replaced when they end, and end with the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving import worker_pool
from deepfake_detector.serving.errors import NotReady, TooCostly
from deepfake_detector.serving.messages import Job, JobResult
from deepfake_detector.serving.worker_pool import WorkerPool

IMAGE = Job(kind="image")


def submit(pool: WorkerPool, data: bytes | None = None) -> Future[JobResult]:
    file = tempfile.TemporaryFile()  # noqa: SIM115  (the pool closes it)
    file.write(encode_png(np.zeros((64, 64, 3), np.uint8)) if data is None else data)
    file.flush()
    return pool.submit(IMAGE, file)


def children_of(pid: int) -> list[int]:
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(each) for each in listing.read_text().split()] if listing.exists() else []


def has_ended(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def wait_until(condition: Callable[[], object], timeout_s: float = 150.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_workers_write_no_files_and_have_limited_memory_and_no_settings(served: Any) -> None:
    for pid in served.dispatcher.pool.pids:
        limits = Path(f"/proc/{pid}/limits").read_text()
        found = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()}
        assert (found["Max file size"], found["Max core file size"]) == ("0", "0")
        assert int(found["Max data size"]) < 4 * 2**30
        assert "\nNoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
        assert not any(
            name.startswith("DEEPFAKE_SERVE_") for name in Path(f"/proc/{pid}/environ").read_text().split("\0")
        )


def test_a_killed_worker_is_replaced_and_its_file_processed_by_another(served: Any) -> None:
    pool = served.dispatcher.pool
    value, before = served.dispatcher.metrics.registry.get_sample_value, set(pool.pids)
    restarts = value("deepfake_worker_restarts_total")
    futures = [submit(pool) for _ in range(40)]
    victim = pool.pids[0]
    os.kill(victim, signal.SIGKILL)
    assert {future.result(150).report.status for future in futures} == {200}
    wait_until(lambda: pool.ready == 2 and victim not in pool.pids)
    assert len(before & set(pool.pids)) == 1
    assert value("deepfake_worker_restarts_total") == restarts + 1


def test_a_file_that_ends_two_workers_is_rejected(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kills, run = {"left": 2}, worker_pool.WorkerProcess.run

    def killing_run(self: worker_pool.WorkerProcess, job: Job, file: Any) -> JobResult:
        if kills["left"]:
            kills["left"] -= 1
            os.kill(self.pid, signal.SIGKILL)
        return run(self, job, file)

    monkeypatch.setattr(worker_pool.WorkerProcess, "run", killing_run)
    with pytest.raises(TooCostly, match="ended two workers"):
        submit(served.dispatcher.pool).result(300)
    assert submit(served.dispatcher.pool).result(150).report.status == 200


def test_a_file_that_takes_too_long_is_rejected_and_its_worker_replaced(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(worker_pool.JOB_TIMEOUT_S, "image", 0.2)
    for pid in served.dispatcher.pool.pids:
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TooCostly, match=r"took more than"):
        submit(served.dispatcher.pool).result(150)
    monkeypatch.undo()
    for pid in served.dispatcher.pool.pids:
        with suppress(ProcessLookupError):  # the one that was ended may still be in the list
            os.kill(pid, signal.SIGCONT)
    served.wait_ready(2)


def test_a_cancelled_job_is_not_run(served: Any) -> None:
    futures = [submit(served.dispatcher.pool) for _ in range(20)]
    assert futures[-1].cancel()
    assert all(future.result(150).report.status == 200 for future in futures[:-1])


def test_a_pool_whose_model_cannot_load_is_never_ready(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pool = WorkerPool(tmp_path / "no-bundle", 1)
    pool.start()
    try:
        wait_until(lambda: "a worker did not start" in caplog.text)
        assert pool.ready == 0
        future = submit(pool)
    finally:
        pool.stop()
    with pytest.raises(NotReady):
        future.result(1)
    with pytest.raises(NotReady):
        submit(pool).result(1)


def test_workers_end_when_the_process_that_started_them_is_killed(tiny_bundle: Bundle, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from deepfake_detector.serving.worker_pool import WorkerPool\n"
        "pool = WorkerPool(Path(sys.argv[1]), 1); pool.start()\n"
        "while not pool.ready: time.sleep(0.02)\n"
        "Path(sys.argv[2]).write_text('ready'); time.sleep(600)"
    )
    flag = tmp_path / "flag"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tiny_bundle.path), str(flag)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(flag.exists)
        (worker,) = children_of(process.pid) or [
            int(each)
            for task in Path(f"/proc/{process.pid}/task").iterdir()
            for each in (task / "children").read_text().split()
        ]
        process.kill()
        process.wait(10)
        wait_until(lambda: has_ended(worker), 10)
    finally:
        process.kill()
        process.wait(10)
