"""Perceptual hashes (n,) of 16 hex digits -> pairs of pictures that are nearly the same, exact and not quadratic."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

BITS = 64
Hashes = NDArray[np.uint64]
Integers = NDArray[np.int64]
Members = dict[Hashable, list[int]]  # side -> pictures, in order


def find_near_duplicates(
    phash: Sequence[str], max_bits: int, sides: Sequence[Hashable] | None = None
) -> list[tuple[int, int, int]]:
    """All pairs of pictures whose hashes differ in at most `max_bits` bits.

    By the pigeonhole principle: two hashes that differ in at most k bits are equal in at least one of k + 1 bands
    of bits, so only pictures that share a band are compared. 140,000 random hashes at 4 bits: 0.4 s; see
    benchmarks/data_rows.py.

    Pictures with one and the same hash (all-black ones, say) would be a quadratic number of pairs. Of those each is
    paired with the first one of its hash, and with the first one of every near hash: still every picture that has
    a near duplicate is named, with one.

    Args:
        phash: (n,) as in the manifest; "" (unreadable) is near to nothing.
        max_bits: 0 to 63; the work grows quickly above 8.
        sides: (n,) if given, only pairs on different sides are sought, for example those of train with test; then the
            first one is the first one on its side.

    Returns:
        (i, j, differing bits) with i < j, sorted; i and j are positions in `phash`.
    """
    hashes, members = _collapsed(phash, sides)
    first, second, bits = near_pairs(hashes, max_bits)
    stars = {(i, i, 0) for i, group in enumerate(members) if sum(map(len, group.values())) > 1}
    stars |= set(zip(first.tolist(), second.tolist(), bits.tolist(), strict=True))
    apart = sides is not None
    return sorted({(*pair, d) for a, b, d in stars for pair in _between(members[a], members[b], a == b, apart)})


def group_near_duplicates(phash: Sequence[str], max_bits: int) -> Integers:
    """Number the groups of pictures that are near duplicates of each other, directly or by way of others.

    Args:
        phash: (n,) as in the manifest.
        max_bits: see `find_near_duplicates`.

    Returns:
        (n,) group numbers from 0; a picture without a near duplicate is a group of its own.
    """
    pairs = np.array(find_near_duplicates(phash, max_bits), np.int64).reshape(-1, 3)
    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(phash), len(phash)))
    _, groups = connected_components(links, directed=False)
    return np.asarray(groups, np.int64)


def near_pairs(hashes: Hashes, max_bits: int) -> tuple[Integers, Integers, Integers]:
    """The search itself.

    Args:
        hashes: (n,) all different.
        max_bits: largest number of differing bits.

    Returns:
        First and second position of each pair, and its number of differing bits, all (pairs,); each pair once.
    """
    bands = _bands(max_bits + 1)
    found = [_in_band(hashes, bands[: k + 1], max_bits) for k in range(len(bands))]
    first, second = (np.concatenate([pair[side] for pair in found]) for side in (0, 1))
    return first, second, np.bitwise_count(hashes[first] ^ hashes[second]).astype(np.int64)


def _bands(count: int) -> Hashes:
    """Masks that part the 64 bits into `count` bands.

    Every band takes bits from all over the hash: neighbouring bits belong to neighbouring frequencies, which are much
    alike in pictures that are alike, so bands of neighbours would fill a few large buckets.
    """
    return np.array([sum(1 << bit for bit in range(k, BITS, count)) for k in range(min(count, BITS))], np.uint64)


def _in_band(hashes: Hashes, bands: Hashes, max_bits: int) -> tuple[Integers, Integers]:
    """Pairs that are equal in the last of `bands` and in none before it, which would have found them already."""
    keys = hashes & bands[-1]
    order = np.argsort(keys, kind="stable")
    keys, ordered = keys[order], hashes[order]
    pairs: list[tuple[Integers, Integers]] = []
    left = np.arange(len(hashes) - 1)
    step = 1
    # Each with the one `step` places on, as long as that is in the same bucket: memory stays linear in n.
    while len(left):
        left = left[keys[left] == keys[left + step]]
        differing = ordered[left] ^ ordered[left + step]
        near = np.flatnonzero(np.bitwise_count(differing) <= max_bits)
        near = near[((differing[near, None] & bands[:-1]) != 0).all(axis=1)]
        pairs.append((order[left[near]], order[left[near] + step]))
        step += 1
        left = left[left + step < len(hashes)]
    first = np.concatenate([np.empty(0, np.int64), *(pair[0] for pair in pairs)])
    second = np.concatenate([np.empty(0, np.int64), *(pair[1] for pair in pairs)])
    return np.minimum(first, second), np.maximum(first, second)


def _collapsed(phash: Sequence[str], sides: Sequence[Hashable] | None) -> tuple[Hashes, list[Members]]:
    """Each hash once, and which pictures on which side have it."""
    members: dict[str, Members] = {}
    for i, digits in enumerate(phash):
        if digits:
            members.setdefault(digits, {}).setdefault(sides[i] if sides is not None else None, []).append(i)
    return np.array([int(digits, 16) for digits in members], np.uint64), list(members.values())


def _between(a: Members, b: Members, same: bool, apart: bool) -> Iterator[tuple[int, int]]:
    """Pairs between the pictures of two near hashes, or within one: every picture with the first one opposite."""
    for side, pictures in a.items():
        for other, opposite in b.items():
            if apart and side == other:
                continue
            pairs = {(i, opposite[0]) for i in pictures} | ({(pictures[0], j) for j in opposite} if not same else set())
            yield from ((min(pair), max(pair)) for pair in pairs if pair[0] != pair[1])
