"""In order, in other processes, never far ahead of the reader; errors arrive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_detector.errors import ToolFailed
from deepfake_detector.parallel import AHEAD, CHUNK, available_cores, process_map

SOURCE = Path(__file__).parents[2] / "src"


def square(number: int) -> tuple[int, int]:
    if number == -1:
        raise ValueError("minus one")
    if number == -2:
        os._exit(9)
    return number**2, os.getpid()


def test_order_is_kept_and_the_work_is_done_elsewhere() -> None:
    results = list(process_map(square, range(100)))
    assert [value for value, _ in results] == [n**2 for n in range(100)]
    assert os.getpid() not in {process for _, process in results}
    assert list(process_map(square, [])) == []


ABANDONING = """
import os, signal, sys
sys.path[:0] = {path!r}
from {module} import square
from deepfake_detector.parallel import in_order

for _ in in_order(square, iter(range(10**9))):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    """Workers hold the other end of its output: this waits for all of them."""
    (tmp_path / "squares.py").write_text("import os\ndef square(n): return n**2, os.getpid()\n", encoding="utf-8")
    code = ABANDONING.format(path=[str(tmp_path), str(SOURCE)], module="squares")
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()


def test_a_slow_reader_holds_the_workers_back() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for n in range(10**9):
            taken.append(n)
            yield n

    results = process_map(square, items())
    for _ in range(CHUNK + 1):
        next(results)
    results.close()
    assert len(taken) <= CHUNK * (available_cores() * AHEAD + 2)


@pytest.mark.parametrize(("bad", "error"), [(-1, ValueError), (-2, ToolFailed)])
def test_errors_and_dead_workers_are_reported(bad: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        list(process_map(square, [1, 2, bad, 3]))
