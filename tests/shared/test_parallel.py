"""Parallel maps keep the order, bound the items in memory and report errors; workers end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_detector.errors import ToolFailed
from deepfake_detector.parallel import CHUNK_ITEMS, MAX_PENDING_CHUNKS, available_cores, process_map, thread_map

SOURCE = Path(__file__).parents[2] / "src"
MAP_AND_DIE = """
import os, signal, sys
sys.path[:0] = {path!r}
from squares import square
from deepfake_detector.parallel import process_map

for _ in process_map(square, iter(range(10**9))):
    os.kill(os.getpid(), signal.SIGKILL)
"""
DRAW_SAMPLE = """
import sys
from pathlib import Path
sys.path.insert(0, {source!r})
from deepfake_detector.config import Sample
from deepfake_detector.datasets.synthetic_faces.sample import write_sample

write_sample(Sample(seed=1, train=100_000, valid=4, test=4), Path({to!r}))
"""


def square(number: int) -> tuple[int, int]:
    if number == -1:
        raise ValueError("minus one")
    if number == -2:
        os._exit(9)
    return number**2, os.getpid()


def test_process_map_keeps_the_order_and_works_in_other_processes() -> None:
    results = list(process_map(square, range(100)))
    assert [value for value, _ in results] == [n**2 for n in range(100)]
    assert os.getpid() not in {process for _, process in results}
    assert list(process_map(square, [])) == []


def test_workers_of_process_map_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    """Workers inherit the parent's output, so its end is reached only when all of them have ended."""
    (tmp_path / "squares.py").write_text("import os\ndef square(n): return n**2, os.getpid()\n", encoding="utf-8")
    code = MAP_AND_DIE.format(path=[str(tmp_path), str(SOURCE)])
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()


def test_workers_that_draw_the_sample_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    code = DRAW_SAMPLE.format(source=str(SOURCE), to=str(tmp_path / "faces.zip"))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as parent:
        deadline = time.monotonic() + 60
        while not any(part.stat().st_size for part in tmp_path.glob(".faces.zip.*.part")):
            assert parent.poll() is None
            assert time.monotonic() < deadline, "no image was drawn"
            time.sleep(0.05)
        parent.kill()
        output, _ = parent.communicate(timeout=60)  # as above, this waits for the workers too
    assert parent.returncode == -signal.SIGKILL, output.decode()


def test_a_slow_reader_holds_the_workers_back() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for n in range(10**9):
            taken.append(n)
            yield n

    results = process_map(square, items())
    for _ in range(CHUNK_ITEMS + 1):
        next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(taken) <= CHUNK_ITEMS * (available_cores() * MAX_PENDING_CHUNKS + 2)


@pytest.mark.parametrize(("bad", "error"), [(-1, ValueError), (-2, ToolFailed)])
def test_errors_and_dead_workers_are_reported(bad: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        list(process_map(square, [1, 2, bad, 3]))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_thread_map_keeps_the_order(threads: int) -> None:
    def square_slowly(item: int) -> int:
        time.sleep(0.01 if item % 3 == 0 else 0)
        return item * item

    assert list(thread_map(square_slowly, range(20), threads)) == [i * i for i in range(20)]
    assert list(thread_map(square_slowly, [], threads)) == []


def test_thread_map_makes_items_during_the_work_and_few_wait() -> None:
    may_finish = threading.Semaphore(0)
    made: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1, 11):
            made.append(item)
            yield item

    results = thread_map(lambda item: (may_finish.acquire(timeout=10), item)[1], items(), 2)
    may_finish.release()
    assert next(results) == 1
    assert len(made) == 5  # two in work, two waiting, and the finished one
    for _ in range(9):
        may_finish.release()
    assert list(results) == list(range(2, 11))


def test_thread_map_reports_errors_of_the_items_and_of_the_function() -> None:
    def broken_items() -> Iterator[int]:
        yield 1
        raise OSError("truncated")

    with pytest.raises(OSError, match="truncated"):
        list(thread_map(lambda item: item, broken_items(), 2))
    with pytest.raises(ZeroDivisionError):
        list(thread_map(lambda item: 1 // item, [1, 0, 1], 2))
