from __future__ import annotations

import json
import time

import pytest

from benchmarks.timing import MIB, Comparison, Variant, compare, row


def test_ways_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []

    def way(name: str, seconds: float) -> Variant:
        def work() -> int:
            time.sleep(seconds)
            return 10

        def recorded() -> int:
            calls.append(name)
            return work()

        return Variant(name, recorded, lambda: calls.append(f"before {name}"))

    rows = compare("sleep", way("ours", 0.002), [way("slow", 0.02), way("fast", 0.001)], "nap", 2, (3.0,))
    assert calls == ["before ours", "ours", "before slow", "slow", "before fast", "fast"] * 3
    assert [(each.other, each.goal) for each in rows] == [("slow", 3.0), ("fast", None)]
    assert all(each.ours_figure == rows[0].ours_figure for each in rows)


def test_a_row_is_the_median_of_its_rounds() -> None:
    found = row("x", ("a", "b"), "crop", [(10.0, 5.0), (30.0, 10.0), (8.0, 8.0)], 2.0)
    assert (found.ours_figure, found.other_figure) == (10.0, 8.0)
    assert (found.ratio, found.spread) == (2.0, (1.0, 3.0))
    assert found.reached is True


@pytest.mark.parametrize(
    ("unit", "ratio", "goal", "reached"),
    [("crop", 0.9, 1.0, False), ("crop", 1.0, None, None), (MIB, 1.05, 1.1, True), (MIB, 1.2, 1.1, False)],
)
def test_speed_is_to_reach_its_goal_and_memory_not_to_pass_it(
    unit: str, ratio: float, goal: float | None, reached: bool | None
) -> None:
    assert row("x", ("a", "b"), unit, [(ratio, 1.0)], goal).reached is reached


def test_a_row_comes_back_from_its_report() -> None:
    found = row("x", ("a", "b"), "crop", [(10.0, 5.0), (30.0, 10.0)], 2.0)
    assert Comparison.from_json(json.loads(json.dumps(found.as_json()))) == found
