"""The crew with real workers: they are confined, replaced when they die, and end with whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving import worker_pool as child_module
from deepfake_detector.serving.errors import NotReady, TooCostly
from deepfake_detector.serving.messages import Done, Job
from deepfake_detector.serving.worker_pool import Crew

IMAGE = Job(kind="image")


def submit(crew: Crew, data: bytes | None = None) -> Future[Done]:
    file = tempfile.TemporaryFile()  # noqa: SIM115  (the crew closes it)
    file.write(encode_png(np.zeros((64, 64, 3), np.uint8)) if data is None else data)
    file.flush()
    return crew.submit(IMAGE, file)


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(each) for each in found.read_text().split()] if found.exists() else []


def gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def wait_until(what: Any, seconds: float = 150.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_workers_may_write_nothing_and_not_grow_for_ever(served: Any) -> None:
    for pid in served.desk.crew.pids:
        limits = Path(f"/proc/{pid}/limits").read_text()
        found = {line[:26].strip(): line[26:].split()[0] for line in limits.splitlines()}
        assert (found["Max file size"], found["Max core file size"]) == ("0", "0")
        assert int(found["Max data size"]) < 4 * 2**30
        assert "\nNoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
        assert not any(
            name.startswith("DEEPFAKE_SERVE_") for name in Path(f"/proc/{pid}/environ").read_text().split("\0")
        )


def test_a_worker_that_is_killed_is_replaced_and_its_file_is_done_by_another(served: Any) -> None:
    crew = served.desk.crew
    deaths, before = served.desk.metrics.registry.get_sample_value, set(crew.pids)
    counted = deaths("deepfake_worker_deaths_total")
    waiting = [submit(crew) for _ in range(40)]
    victim = crew.pids[0]
    os.kill(victim, signal.SIGKILL)
    assert {work.result(150).report.status for work in waiting} == {200}
    wait_until(lambda: crew.ready == 2 and victim not in crew.pids)
    assert len(before & set(crew.pids)) == 1
    assert deaths("deepfake_worker_deaths_total") == counted + 1


def test_a_file_that_ends_two_workers_is_given_up_with_a_clear_word(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly, real = {"left": 2}, child_module.Child.do

    def do(self: child_module.Child, job: Job, file: Any) -> Done:
        if deadly["left"]:
            deadly["left"] -= 1
            os.kill(self.pid, signal.SIGKILL)
        return real(self, job, file)

    monkeypatch.setattr(child_module.Child, "do", do)
    with pytest.raises(TooCostly, match="ended two workers"):
        submit(served.desk.crew).result(300)
    assert submit(served.desk.crew).result(150).report.status == 200


def test_a_file_that_takes_too_long_loses_its_worker(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(child_module.JOB_S, "image", 0.2)
    for pid in served.desk.crew.pids:
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TooCostly, match=r"took more than"):
        submit(served.desk.crew).result(150)
    monkeypatch.undo()
    for pid in served.desk.crew.pids:
        with suppress(ProcessLookupError):  # the one that was ended may still be in the list
            os.kill(pid, signal.SIGCONT)
    served.wait_ready(2)


def test_what_nobody_waits_for_is_not_done(served: Any) -> None:
    waiting = [submit(served.desk.crew) for _ in range(20)]
    assert waiting[-1].cancel()
    assert all(work.result(150).report.status == 200 for work in waiting[:-1])


def test_a_model_that_fails_its_self_test_never_gets_ready(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    crew = Crew(tmp_path / "no-bundle", 1)
    crew.start()
    try:
        wait_until(lambda: "a worker did not start" in caplog.text)
        assert crew.ready == 0
        work = submit(crew)
    finally:
        crew.stop()
    with pytest.raises(NotReady):
        work.result(1)
    with pytest.raises(NotReady):
        submit(crew).result(1)


def test_the_workers_end_when_the_process_that_started_them_is_killed(tiny_bundle: Bundle, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from deepfake_detector.serving.worker_pool import Crew\n"
        "crew = Crew(Path(sys.argv[1]), 1); crew.start()\n"
        "while not crew.ready: time.sleep(0.02)\n"
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
        wait_until(lambda: gone(worker), 10)
    finally:
        process.kill()
        process.wait(10)
