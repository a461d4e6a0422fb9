"""Real worker processes: they are confined, replaced when they end, and end with the process that started them."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving import worker_process
from deepfake_detector.serving.errors import NotReady, TooCostly
from deepfake_detector.serving.messages import Job, JobResult
from deepfake_detector.serving.worker import _unexpected
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
    kills, run = {"left": 2}, worker_process.WorkerProcess.run

    def killing_run(self: worker_process.WorkerProcess, job: Job, file: Any) -> JobResult:
        if kills["left"]:
            kills["left"] -= 1
            os.kill(self.pid, signal.SIGKILL)
        return run(self, job, file)

    monkeypatch.setattr(worker_process.WorkerProcess, "run", killing_run)
    with pytest.raises(TooCostly, match="ended two workers"):
        submit(served.dispatcher.pool).result(300)
    assert submit(served.dispatcher.pool).result(150).report.status == 200


def test_a_file_that_takes_too_much_processor_time_is_rejected_and_its_worker_replaced(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(worker_process.JOB_CPU_S, "image", 0.05)
    rng = np.random.default_rng(1)
    costly = encode_png(rng.integers(0, 256, (2400, 2400, 3)).astype(np.uint8))
    with pytest.raises(TooCostly, match=r"processor time"):
        submit(served.dispatcher.pool, costly).result(150)
    monkeypatch.undo()
    served.wait_ready(2)
    assert submit(served.dispatcher.pool).result(150).report.status == 200


def test_a_file_that_needs_too_much_memory_is_its_own_fault(served: Any) -> None:
    """A line of 49 megapixels: OpenCV's tables for it take more than one file may use."""
    rows = zlib.compress(bytes(1 + 3 * 49_000_000), 1)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 49_000_000, 1, 8, 2, 0, 0, 0))
    line = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    report = submit(served.dispatcher.pool, line).result(150).report
    assert (report.status, report.error_code) in ((200, ""), (422, "too_costly"))
    assert process_error(MemoryError()) == process_error(RuntimeError("std::bad_alloc")) == "too_costly"
    assert process_error(RuntimeError("other")) == "tool_failed"


def process_error(error: Exception) -> str:
    return _unexpected(error, IMAGE).code


@pytest.mark.slow
def test_a_busy_machine_does_not_reject_a_file(served: Any) -> None:
    """Other programs use up wall time, not the worker's processor time."""
    # As an ordinary process, whatever the policy of this one: with a real-time policy they would stop the machine.
    code = "import os\nos.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))\nwhile True: pass"
    burners = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(8)]
    try:
        large = encode_png(np.zeros((5000, 7000, 3), np.uint8))
        assert submit(served.dispatcher.pool, large).result(150).report.status == 200
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def test_a_stopped_worker_is_replaced_before_it_gets_a_file(served: Any) -> None:
    pool = served.dispatcher.pool
    stopped = pool.pids
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    assert pool.ready < 2  # /readyz sees it at once; the pool may have replaced one already
    assert submit(pool).result(150).report.status == 200
    wait_until(lambda: pool.ready == 2 and not set(stopped) & set(pool.pids))
    assert all(has_ended(pid) for pid in stopped)


def test_a_worker_that_stops_during_a_job_is_replaced_and_the_file_answered(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops, send = {"left": 1}, send_handle

    def stopping_send(connection: Any, handle: int, pid: int) -> None:
        if stops["left"]:
            stops["left"] -= 1
            os.kill(pid, signal.SIGSTOP)
        send(connection, handle, pid)

    monkeypatch.setattr(worker_process, "send_handle", stopping_send)
    assert submit(served.dispatcher.pool).result(150).report.status == 200
    served.wait_ready(2)


def test_a_worker_that_hangs_is_found_while_it_is_idle(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs and does not answer; here the pool does not see the answer."""
    pool, hanging = served.dispatcher.pool, served.dispatcher.pool.pids[1]
    ping = worker_process.WorkerProcess.ping
    monkeypatch.setattr(worker_process.WorkerProcess, "ping", lambda self: self.pid != hanging and ping(self))
    wait_until(lambda: pool.ready == 2 and hanging not in pool.pids)


def test_videos_leave_one_worker_to_images(tiny_bundle: Bundle, clip: Path) -> None:
    pool, order = WorkerPool(tiny_bundle.path, 2), list[int]()

    def done(number: int, _: object) -> None:
        order.append(number)

    videos = [pool.submit(Job(kind="video"), clip.open("rb")) for _ in range(6)]
    image = submit(pool)
    for i, future in enumerate([*videos, image]):
        future.add_done_callback(partial(done, i))
    pool.start()
    try:
        assert {future.result(150).report.status for future in (*videos, image)} == {200}
    finally:
        pool.stop()
    assert order.index(6) < 5  # submitted last, answered while videos wait


def test_a_spare_replaces_a_worker_at_once_and_is_itself_replaced(tiny_bundle: Bundle) -> None:
    pool = WorkerPool(tiny_bundle.path, 1, spares=1)
    pool.start()
    try:
        wait_until(lambda: len(pool._spares) == 1)
        spare, worker = pool._spares[0].pid, pool.pids[0]
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: pool.pids == [spare], 5)
        wait_until(lambda: len(pool._spares) == 1 and pool._spares[0].pid != spare)
        last = pool._spares[0].pid
        assert submit(pool).result(150).report.status == 200
    finally:
        pool.stop()
    assert has_ended(spare)
    assert has_ended(last)


def test_a_file_of_another_folder_is_copied_for_the_worker(served: Any, clip: Path) -> None:
    with clip.open("rb") as file:
        result = served.dispatcher.pool.submit(Job(kind="video"), file).result(150)
    assert (result.report.status, result.report.verdict) == (200, "fake")


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
