"""Perceptual hashes (n,) of 16 hex digits -> pairs of pictures that are nearly the same, exact and not quadratic."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from deepfake_detector.validation.thumbnails import read_thumbnails

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


Pairs = NDArray[np.int64]

_SIDE_PX = 8
# Difference over contrast, measured at 8 px grey: a picture saved anew at quality 20 to 75 up to 0.10; the Kaggle set's
# twins 0.06 to 0.25, its other pairs 0.55 and more; drawn portraits of different people 0.21 and more.
_MAX_DIFFERENCE = 0.2
_MAX_SHIFT = 2.0  # grey levels between the means: twins and copies have less than 1, of different drawn ones 1 in 15
_LEAST_CONTRAST = 2.0  # grey levels: below it a picture is a flat patch, and only the patch is compared


def find_lookalikes(manifest: pd.DataFrame, archive: Path, max_bits: int, max_unpacked_bytes: int) -> Pairs:
    """Pairs of pictures in different splits or of different classes that are nearly the same, but not byte by byte.

    Args:
        manifest: as `build_manifest` gives it.
        archive: what it was built from; only the proposed pictures are read.
        max_bits: differing bits of 64 up to which a pair of hashes is proposed.
        max_unpacked_bytes: see `Archive`.

    Returns:
        (pairs, 2), row numbers in the manifest, the smaller first; none within one group of one split. Where many
        pictures have one hash, each is paired with one of them, see `find_near_duplicates`.
    """
    sides = list(zip(manifest["split"], manifest["label"], strict=True))
    hashes = manifest["phash"].where(manifest["error"] == "", "")
    found = find_near_duplicates(hashes.tolist(), max_bits, sides)
    pairs: Pairs = np.array([(i, j) for i, j, _ in found], np.int64).reshape(-1, 2)
    digests = manifest["sha256"].to_numpy()
    pairs = np.asarray(pairs[digests[pairs[:, 0]] != digests[pairs[:, 1]]])
    # A swapped face beside the picture it was put into: they must look alike, and there are many.
    places = manifest[["group", "split"]].to_numpy()
    pairs = np.asarray(pairs[(places[pairs[:, 0]] != places[pairs[:, 1]]).any(axis=1)])
    if not len(pairs):
        return pairs
    rows, position = np.unique(pairs, return_inverse=True)
    small = read_thumbnails(archive, manifest["path"].iloc[rows].tolist(), max_unpacked_bytes)
    first, second = position.reshape(-1, 2).T
    same: Pairs = pairs[same_picture(small[first], small[second])]
    return same


def same_picture(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether grey thumbnails, two times (n, 32, 32), show the same light in the same places; (n,)."""
    a, b = _pooled(first), _pooled(second)
    shift = a.mean(axis=1) - b.mean(axis=1)
    contrast = np.sqrt((a.var(axis=1) + b.var(axis=1)) / 2)
    difference = (a - b).std(axis=1)
    same = difference <= _MAX_DIFFERENCE * np.maximum(contrast, _LEAST_CONTRAST)
    return np.asarray(same & (np.abs(shift) <= _MAX_SHIFT))


def _pooled(small: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 32, 32) -> (n, 64), means of blocks."""
    block = small.shape[1] // _SIDE_PX
    pooled = small.reshape(len(small), _SIDE_PX, block, _SIDE_PX, block).mean(axis=(2, 4))
    return np.asarray(pooled.reshape(len(small), -1), np.float64)


def group_twins(manifest: pd.DataFrame, archive: Path, max_bits: int, max_unpacked_bytes: int) -> Integers:
    """Number the groups; a picture without a twin is a group of its own.

    Hashes propose, pixels decide: see `lookalikes`. Twins of twins are one group.

    Args:
        manifest: rows as `build_manifest` gives them; n of them.
        archive: what it was built from; only proposed pictures are read.
        max_bits: differing bits of 64 up to which two hashes propose a pair.
        max_unpacked_bytes: see `Archive`.

    Returns:
        (n,) numbers from 0.
    """
    near = _same_pictures(manifest, archive, max_bits, max_unpacked_bytes)
    digests = pd.factorize(manifest["sha256"])[0]
    _, first = np.unique(digests, return_index=True)
    exact = np.stack([np.arange(len(manifest)), first[digests]], axis=1)
    pairs = np.concatenate([near, exact])
    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(manifest), len(manifest)))
    _, groups = connected_components(links, directed=False)
    return np.asarray(groups, np.int64)


def _same_pictures(manifest: pd.DataFrame, archive: Path, max_bits: int, max_unpacked_bytes: int) -> Integers:
    hashes = manifest["phash"].where(manifest["error"] == "", "")
    found = find_near_duplicates(hashes.tolist(), max_bits)
    pairs = np.array([(i, j) for i, j, _ in found], np.int64).reshape(-1, 2)
    if not len(pairs):
        return pairs
    rows, places = np.unique(pairs, return_inverse=True)
    small = read_thumbnails(archive, manifest["path"].iloc[rows].tolist(), max_unpacked_bytes)
    one, other = places.reshape(-1, 2).T
    return np.asarray(pairs[same_picture(small[one], small[other])], np.int64)
