from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from deepfake_detector.parallel import thread_map


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_answers_keep_the_order_of_the_items(threads: int) -> None:
    def slow_for_some(item: int) -> int:
        time.sleep(0.01 if item % 3 == 0 else 0)
        return item * item

    assert list(thread_map(slow_for_some, range(20), threads)) == [i * i for i in range(20)]
    assert list(thread_map(slow_for_some, [], threads)) == []


def test_items_are_made_while_others_are_worked_on_and_few_wait() -> None:
    waiting = threading.Semaphore(0)
    made: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1, 11):
            made.append(item)
            yield item

    answers = thread_map(lambda item: (waiting.acquire(timeout=10), item)[1], items(), 2)
    waiting.release()
    assert next(answers) == 1
    assert len(made) == 5  # two worked on, two waiting, and the one that was answered
    for _ in range(9):
        waiting.release()
    assert list(answers) == list(range(2, 11))


def test_what_goes_wrong_on_either_side_reaches_the_caller() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("cut short")

    with pytest.raises(OSError, match="cut short"):
        list(thread_map(lambda item: item, broken(), 2))
    with pytest.raises(ZeroDivisionError):
        list(thread_map(lambda item: 1 // item, [1, 0, 1], 2))
