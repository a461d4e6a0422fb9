"""No reporter has more than a share; a picture's side depends on its digest alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfake_detector.feedback.selection import capped, is_held_out


def pictures(counts: dict[str, int]) -> dict[str, str]:
    return {f"{reporter}-{i}": reporter for reporter, count in counts.items() for i in range(count)}


@pytest.mark.parametrize(
    ("counts", "share", "kept"),
    [
        ({"a": 100, "b": 3, "c": 2}, 0.5, {"a": 5, "b": 3, "c": 2}),
        ({"a": 100, "b": 3}, 0.5, {"a": 3, "b": 3}),
        ({"a": 10}, 0.5, {}),
        ({"a": 10}, 1.0, {"a": 10}),
        ({"a": 4, "b": 4, "c": 4}, 0.34, {"a": 4, "b": 4, "c": 4}),
        ({"a": 4, "b": 4}, 0.34, {}),
        ({}, 0.5, {}),
    ],
)
def test_the_share_of_a_reporter_is_capped(counts: dict[str, int], share: float, kept: dict[str, int]) -> None:
    assert Counter(name.partition("-")[0] for name in capped(pictures(counts), share)) == kept


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 40)), st.floats(0.05, 1))
def test_the_cap_holds_and_is_as_loose_as_it_can_be(counts: dict[str, int], share: float) -> None:
    kept = Counter(name.partition("-")[0] for name in capped(pictures(counts), share))
    total = kept.total()
    assert all(count <= share * total + 1e-6 for count in kept.values())
    limit = max(kept.values(), default=0) + 1
    looser = {name: min(count, limit) for name, count in counts.items()}
    more = sum(looser.values())
    assert kept == counts or limit > max(counts.values()) or any(c > share * more + 1e-6 for c in looser.values())


def test_more_pictures_of_others_change_no_side() -> None:
    groups = [f"{number:064x}" for number in range(2000)]
    held_out = [group for group in groups if is_held_out(group, 0.3)]
    assert 0.26 < len(held_out) / len(groups) < 0.34
    assert all(is_held_out(group, 0.4) for group in held_out)
    assert not any(is_held_out(group, 0.0) for group in groups)
    assert all(is_held_out(group, 1.0) for group in groups)
