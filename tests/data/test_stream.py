"""In order, in other processes, never far ahead of the reader; errors arrive."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from deepfake_detector.data.stream import AHEAD, CHUNK, cores, in_order
from deepfake_detector.errors import ToolFailed


def square(number: int) -> tuple[int, int]:
    if number == -1:
        raise ValueError("minus one")
    if number == -2:
        os._exit(9)
    return number**2, os.getpid()


def test_order_is_kept_and_the_work_is_done_elsewhere() -> None:
    results = list(in_order(square, range(100)))
    assert [value for value, _ in results] == [n**2 for n in range(100)]
    assert os.getpid() not in {process for _, process in results}
    assert list(in_order(square, [])) == []


def test_a_slow_reader_holds_the_workers_back() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for n in range(10**9):
            taken.append(n)
            yield n

    results = in_order(square, items())
    for _ in range(CHUNK + 1):
        next(results)
    results.close()
    assert len(taken) <= CHUNK * (cores() * AHEAD + 2)


@pytest.mark.parametrize(("bad", "error"), [(-1, ValueError), (-2, ToolFailed)])
def test_errors_and_dead_workers_are_reported(bad: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        list(in_order(square, [1, 2, bad, 3]))
