"""Near duplicates: the same pairs as comparing everything with everything, without doing so."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from deepfake_detector.validation.near_duplicates import find_near_duplicates, group_near_duplicates, near_pairs


def digits(numbers: np.ndarray) -> list[str]:
    return [f"{number:016x}" for number in numbers.tolist()]


def brute_force(phash: list[str], max_bits: int) -> list[tuple[int, int, int]]:
    numbers = [int(text, 16) for text in phash]
    pairs = [(i, j, (numbers[i] ^ numbers[j]).bit_count()) for j in range(len(numbers)) for i in range(j)]
    return sorted(pair for pair in pairs if pair[2] <= max_bits)


def clustered(rng: np.random.Generator, clusters: int, each: int, flips: int) -> np.ndarray:
    """Distinct hashes that lie up to `flips` bits from one of a few centres."""
    centres = rng.integers(0, 2**64, clusters, np.uint64)
    found = np.repeat(centres, each)
    for _ in range(flips):
        bit = np.uint64(1) << rng.integers(0, 64, len(found)).astype(np.uint64)
        found = np.where(rng.random(len(found)) < 0.6, found ^ bit, found)
    return rng.permutation(np.unique(found))


@pytest.mark.parametrize("max_bits", [0, 1, 3, 4, 7])
@pytest.mark.parametrize("seed", range(4))
def test_clustered_hashes_give_what_brute_force_gives(seed: int, max_bits: int) -> None:
    phash = digits(clustered(np.random.default_rng(seed), 12, 40, 3))
    expected = brute_force(phash, max_bits)
    assert find_near_duplicates(phash, max_bits) == expected
    assert bool(expected) == (max_bits > 0)


def test_random_hashes_give_what_brute_force_gives() -> None:
    rng = np.random.default_rng(5)
    phash = digits(rng.integers(0, 2**64, 600, np.uint64))
    # 20 bits: random 64-bit hashes are that near now and then; every band has three bits.
    expected = brute_force(phash, 20)
    assert len(expected) > 50
    assert find_near_duplicates(phash, 20) == expected


@pytest.mark.parametrize("bits", range(5))
def test_differences_anywhere_in_the_hash_are_found(bits: int) -> None:
    rng = np.random.default_rng(bits)
    for _ in range(200):
        first = int(rng.integers(0, 2**64, dtype=np.uint64))
        second = first
        for bit in rng.permutation(64)[:bits]:
            second ^= 1 << int(bit)
        pair = [f"{first:016x}", f"{second:016x}"]
        assert find_near_duplicates(pair, 4) == [(0, 1, bits)]
        assert find_near_duplicates(pair, bits - 1 if bits else 0) == ([] if bits else [(0, 1, 0)])


def test_the_widest_search_compares_everything() -> None:
    phash = digits(np.random.default_rng(0).integers(0, 2**64, 30, np.uint64))
    assert find_near_duplicates(phash, 63) == brute_force(phash, 63)


@pytest.mark.parametrize("phash", [[], [""], ["", ""], ["0" * 16], ["", "f" * 16, ""]])
def test_nothing_is_near_to_nothing(phash: list[str]) -> None:
    assert find_near_duplicates(phash, 4) == []
    assert list(group_near_duplicates(phash, 4)) == list(range(len(phash)))


def test_unreadable_pictures_are_passed_over_and_positions_kept() -> None:
    assert find_near_duplicates(["", "0" * 16, "", "0" * 15 + "3"], 4) == [(1, 3, 2)]


def test_many_equal_hashes_are_named_once_each_and_not_a_quadratic_number_of_times() -> None:
    black, near = "8" + "0" * 15, "8" + "0" * 14 + "1"
    phash = [black] * 20_000 + [near] * 3
    pairs = find_near_duplicates(phash, 4)
    assert len(pairs) == 19_999 + 2 + 20_000 + 2
    assert {i for pair in pairs for i in pair[:2]} == set(range(20_003))
    assert len(set(group_near_duplicates(phash, 4))) == 1


def test_only_pairs_across_sides_are_found_and_every_such_picture_is_named() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        few = clustered(rng, 6, 5, 2)
        phash = digits(rng.choice(few, 60))  # many equal ones
        sides = rng.choice(["train", "valid", "test"], 60).tolist()
        expected = [pair for pair in brute_force(phash, 4) if sides[pair[0]] != sides[pair[1]]]
        found = find_near_duplicates(phash, 4, sides)
        assert set(found) <= set(expected)
        assert {i for pair in found for i in pair[:2]} == {i for pair in expected for i in pair[:2]}
        assert len(found) == len(set(found))


def test_groups_are_closed_under_nearness() -> None:
    # A chain: the ends are 6 bits apart, each step 3.
    phash = ["0" * 16, "0" * 15 + "7", "0" * 14 + "3f", "f" * 16]
    groups = group_near_duplicates(phash, 3)
    assert groups[0] == groups[1] == groups[2] != groups[3]
    assert len(set(group_near_duplicates(phash, 2))) == 4


def test_a_bucket_that_holds_everything_is_searched_in_linear_memory() -> None:
    # All agree in one band of five (bits 0, 5, 10, ...): every pair is a candidate, hardly any is near.
    rng = np.random.default_rng(2)
    band = np.uint64(sum(1 << bit for bit in range(0, 64, 5)))
    hashes = np.unique(rng.integers(0, 2**64, 3000, np.uint64) & ~band)
    tracemalloc.start()
    first, _, _ = near_pairs(hashes, 4)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(first) == 0
    assert peak_bytes < 200 * len(hashes) + 2**20  # all 4.5 million candidates at once: 72 MB
