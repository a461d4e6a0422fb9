"""Training pictures without held-out splits: whole groups of each class are moved to valid and test, enough of them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfake_detector.datasets.archive import SPLITS, Entry
from deepfake_detector.datasets.held_out_splits import MIN_HELD_OUT, STRATIFIED_BELOW, with_held_out_splits


def pictures(reals: int, fakes: int, group: str = "") -> list[Entry]:
    return [
        Entry(f"{label}/{i}.jpg", "train", label, group.format(label=label, i=i))
        for label, images in enumerate((reals, fakes))
        for i in range(images)
    ]


def per_split(entries: list[Entry]) -> dict[str, tuple[int, int]]:
    """Split -> reals, fakes."""
    found = Counter((entry.split, entry.label) for entry in entries)
    return {split: (found[split, 0], found[split, 1]) for split in SPLITS}


def test_sixty_pictures_fill_every_split_with_both_classes() -> None:
    assert per_split(with_held_out_splits(pictures(30, 30), 0.2)) == {
        "train": (18, 18),
        "valid": (6, 6),
        "test": (6, 6),
    }


def test_a_small_share_of_few_pictures_still_gives_the_minimum() -> None:
    assert per_split(with_held_out_splits(pictures(30, 20), 0.1)) == {
        "train": (20, 10),
        "valid": (5, 5),
        "test": (5, 5),
    }


def test_very_few_pictures_keep_half_for_training() -> None:
    assert per_split(with_held_out_splits(pictures(8, 4), 0.1)) == {"train": (4, 2), "valid": (2, 1), "test": (2, 1)}


def test_only_missing_splits_are_drawn() -> None:
    given_test = [Entry("t.jpg", "test", 0), *pictures(30, 30)]
    assert per_split(with_held_out_splits(given_test, 0.2)) == {"train": (24, 24), "valid": (6, 6), "test": (1, 0)}


def test_groups_with_both_classes_and_groups_of_one_are_drawn_apart() -> None:
    pairs = pictures(20, 20, "pair{i}")
    alone = [Entry(f"alone/{i}.jpg", "train", 1) for i in range(20)]
    drawn = with_held_out_splits([*pairs, *alone], 0.2)
    of_group = Counter((entry.split, entry.group != "") for entry in drawn)
    assert {key: n for key, n in of_group.items() if key[0] == "valid"} == {("valid", True): 10, ("valid", False): 5}
    splits: dict[str, set[str]] = {}
    for entry in drawn:
        splits.setdefault(entry.group or entry.path, set()).add(entry.split)
    assert all(len(of) == 1 for of in splits.values())


def test_one_large_group_does_not_swallow_the_training() -> None:
    large = [Entry(f"large/{i}.jpg", "train", 0, "one person") for i in range(20)]
    others = [Entry(f"other/{i}.jpg", "train", 0, f"p{i}") for i in range(10)]
    drawn = with_held_out_splits([*large, *others, *pictures(0, 30)], 0.2)
    assert per_split(drawn) == {"train": (20, 18), "valid": (4, 6), "test": (6, 6)}
    assert {entry.split for entry in drawn if entry.group == "one person"} == {"train"}


def test_a_large_set_is_drawn_by_hash_so_that_more_pictures_move_none() -> None:
    first = pictures(STRATIFIED_BELOW, STRATIFIED_BELOW)
    before = {entry.path: entry.split for entry in with_held_out_splits(first, 0.1)}
    after = {entry.path: entry.split for entry in with_held_out_splits([*first, Entry("new.jpg", "train", 1)], 0.1)}
    assert before == {path: after[path] for path in before}


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), max_size=80),
    st.floats(0.01, 0.49),
    st.sampled_from([(), ("valid",), ("test",)]),
)
def test_groups_stay_whole_and_no_class_loses_its_training(
    drawn: list[tuple[int, int]], share: float, existing: tuple[str, ...]
) -> None:
    entries = [
        Entry(f"{i}.jpg", "train", label, f"g{group}" if group else "") for i, (label, group) in enumerate(drawn)
    ]
    entries += [Entry(f"{split}.jpg", split, 0) for split in existing]
    result = with_held_out_splits(entries, share)
    assert [entry.path for entry in result] == [entry.path for entry in entries]
    splits: dict[str, set[str]] = {}
    for entry in result:
        splits.setdefault(entry.group or entry.path, set()).add(entry.split)
    assert all(len(of_group) == 1 for of_group in splits.values())
    for label in (0, 1):
        if any(entry.label == label and entry.split == "train" for entry in entries):
            assert any(entry.label == label and entry.split == "train" for entry in result)


@pytest.mark.parametrize("seed", range(5))
def test_single_pictures_get_the_minimum_in_every_split(seed: int) -> None:
    entries = [Entry(f"{seed}-{i}.jpg", "train", i % 2) for i in range(4 * MIN_HELD_OUT * 2)]
    assert min(count for counts in per_split(with_held_out_splits(entries, 0.05)).values() for count in counts) >= 5
