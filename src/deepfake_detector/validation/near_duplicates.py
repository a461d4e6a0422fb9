"""Manifest rows (n,) -> pairs and groups of nearly equal pictures: perceptual hashes propose, thumbnails confirm.

The search over hashes is exact and not quadratic.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from deepfake_detector.validation.image_record import HASH_BITS
from deepfake_detector.validation.thumbnails import read_thumbnails

Hashes = NDArray[np.uint64]
Integers = NDArray[np.int64]  # pairs of row numbers are (pairs, 2)
MAX_EQUAL_BANDS = 3  # 35 masks at 4 bits, for a hundred million hashes
_SORTING = 8.0  # time of sorting by one mask, in comparisons per hash; measured at 140,000 and 500,000
Members = dict[Hashable, list[int]]  # side -> pictures, in order

_COMPARED_PAIRS = 4096  # at a time: each takes 6 kB
_COMPARED_PX = 8  # side of the grey pictures that are compared
# Standard deviation of the difference over contrast, measured at 8 px grey: a picture saved again at quality 20 to 75
# reaches 0.10; near-duplicates in the Kaggle set 0.06 to 0.25, its other pairs 0.55 and more; drawn portraits of
# different people 0.21 and more.
_MAX_DIFFERENCE = 0.2
_MAX_SHIFT = 2.0  # grey levels between the means: near-duplicates have less than 1, 1 in 15 pairs of drawn faces has
_MIN_CONTRAST = 2.0  # grey levels: the contrast of a flat picture is taken to be this


def find_near_duplicates(manifest: pd.DataFrame, archive: Path, max_bits: int, max_unpacked_bytes: int) -> Integers:
    """Pairs of nearly equal pictures in different splits or of different classes, exact copies left out.

    Args:
        manifest: as `build_manifest` returns it.
        archive: what it was built from; only proposed pictures are read.
        max_bits: differing bits of 64 up to which a pair of hashes is proposed.
        max_unpacked_bytes: see `Archive`.

    Returns:
        (pairs, 2), row numbers of the manifest, the smaller first; none within one group of one split. Where many
        pictures have one hash, each is paired with one of them, see `similar_hash_pairs`.

    Raises:
        ArchiveRejected, UnreadableImage, InputTooLarge: the archive is not the one that the manifest describes.
    """
    sides = list(zip(manifest["split"], manifest["label"], strict=True))
    pairs = _proposed_pairs(manifest, max_bits, sides)
    digests = manifest["sha256"].to_numpy()
    pairs = pairs[digests[pairs[:, 0]] != digests[pairs[:, 1]]]
    # A face swap resembles its original, which is in the same group; there are many such pairs.
    groups = manifest[["group", "split"]].to_numpy()
    pairs = pairs[(groups[pairs[:, 0]] != groups[pairs[:, 1]]).any(axis=1)]
    return _confirmed_pairs(pairs, manifest, archive, max_unpacked_bytes)


def duplicate_groups(manifest: pd.DataFrame, archive: Path, max_bits: int, max_unpacked_bytes: int) -> Integers:
    """Number the groups of exact and near-duplicates, in all splits and classes.

    Groups are closed: duplicates of duplicates are one group. A picture without a duplicate is a group of its own.

    Args:
        manifest: rows as `build_manifest` returns them; n of them.
        archive: what it was built from; only proposed pictures are read.
        max_bits: differing bits of 64 up to which a pair of hashes is proposed.
        max_unpacked_bytes: see `Archive`.

    Returns:
        (n,) numbers from 0.

    Raises:
        ArchiveRejected, UnreadableImage, InputTooLarge: the archive is not the one that the manifest describes.
    """
    near = _confirmed_pairs(_proposed_pairs(manifest, max_bits), manifest, archive, max_unpacked_bytes)
    digests = pd.factorize(manifest["sha256"])[0]
    _, first = np.unique(digests, return_index=True)
    exact = np.stack([np.arange(len(manifest)), first[digests]], axis=1)
    pairs = np.concatenate([near, exact])
    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(manifest), len(manifest)))
    _, groups = connected_components(links, directed=False)
    return np.asarray(groups, np.int64)


def same_image(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether grey thumbnails, two times (n, 32, 32), show the same picture up to recompression and resizing; (n,)."""
    a, b = _block_means(first), _block_means(second)
    shift = a.mean(axis=1) - b.mean(axis=1)
    contrast = np.sqrt((a.var(axis=1) + b.var(axis=1)) / 2)
    difference = (a - b).std(axis=1)
    same = difference <= _MAX_DIFFERENCE * np.maximum(contrast, _MIN_CONTRAST)
    return np.asarray(same & (np.abs(shift) <= _MAX_SHIFT))


def similar_hash_pairs(
    phash: Sequence[str], max_bits: int, sides: Sequence[Hashable] | None = None
) -> list[tuple[int, int, int]]:
    """All pairs of pictures whose hashes differ in at most `max_bits` bits.

    By the pigeonhole principle: two hashes that differ in at most k bits are equal in at least one of k + 1 bands
    of bits, in two of k + 2, in three of k + 3, so only pictures that share so many bands are compared. 140,000 random
    hashes at 4 bits: 0.1 s; see benchmarks/data_rows.py.

    Pictures with one and the same hash (all-black ones, say) would be a quadratic number of pairs. Each of those is
    paired with the first one of its hash, and with the first one of every similar hash: still every picture that has
    a near-duplicate is in a pair.

    Args:
        phash: (n,) as in the manifest; "" (unreadable) is similar to nothing.
        max_bits: 0 to 63; the work grows quickly above 8.
        sides: (n,) if given, only pairs on different sides are returned, for example those of train with test; then
            "the first one" is the first one on its side.

    Returns:
        (i, j, differing bits) with i < j, sorted; i and j are positions in `phash`.
    """
    hashes, members = _unique_hashes(phash, sides)
    first, second, bits = hamming_pairs(hashes, max_bits)
    similar = {(i, i, 0) for i, group in enumerate(members) if sum(map(len, group.values())) > 1}
    similar |= set(zip(first.tolist(), second.tolist(), bits.tolist(), strict=True))
    across = sides is not None
    return sorted({(*pair, d) for a, b, d in similar for pair in _between(members[a], members[b], a == b, across)})


def hamming_pairs(hashes: Hashes, max_bits: int) -> tuple[Integers, Integers, Integers]:
    """Pairs of hashes within a Hamming distance.

    Args:
        hashes: (n,) all different.
        max_bits: largest number of differing bits.

    Returns:
        First and second position of each pair, and its number of differing bits, all (pairs,); each pair once.
    """
    masks = _masks(len(hashes), max_bits)
    pairs = [_pairs_under_mask(hashes, masks[: k + 1], max_bits) for k in range(len(masks))]
    first, second = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    return first, second, np.bitwise_count(hashes[first] ^ hashes[second]).astype(np.int64)


def _proposed_pairs(manifest: pd.DataFrame, max_bits: int, sides: Sequence[Hashable] | None = None) -> Integers:
    hashes = manifest["phash"].where(manifest["error"] == "", "")
    pairs = similar_hash_pairs(hashes.tolist(), max_bits, sides)
    return np.array([(i, j) for i, j, _ in pairs], np.int64).reshape(-1, 2)


def _confirmed_pairs(pairs: Integers, manifest: pd.DataFrame, archive: Path, max_unpacked_bytes: int) -> Integers:
    """The pairs whose thumbnails agree."""
    if not len(pairs):
        return pairs
    rows, positions = np.unique(pairs, return_inverse=True)
    thumbnails = read_thumbnails(archive, manifest["path"].iloc[rows].tolist(), max_unpacked_bytes)
    parts = np.split(positions.reshape(-1, 2), range(_COMPARED_PAIRS, len(pairs), _COMPARED_PAIRS))
    same = [same_image(thumbnails[part[:, 0]], thumbnails[part[:, 1]]) for part in parts]
    return np.asarray(pairs[np.concatenate(same)], np.int64)


def _block_means(thumbnails: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 32, 32) -> (n, 64)."""
    n, block = len(thumbnails), thumbnails.shape[1] // _COMPARED_PX
    means = thumbnails.reshape(n, _COMPARED_PX, block, _COMPARED_PX, block).mean(axis=(2, 4))
    return np.asarray(means.reshape(n, -1), np.float64)


def _unique_hashes(phash: Sequence[str], sides: Sequence[Hashable] | None) -> tuple[Hashes, list[Members]]:
    """Each hash once, and the pictures on each side that have it."""
    members: dict[str, Members] = {}
    for i, digits in enumerate(phash):
        if digits:
            members.setdefault(digits, {}).setdefault(sides[i] if sides is not None else None, []).append(i)
    return np.array([int(digits, 16) for digits in members], np.uint64), list(members.values())


def _between(a: Members, b: Members, same: bool, across: bool) -> Iterator[tuple[int, int]]:
    """Pairs between the pictures of two similar hashes, or within one: each picture with the first one of the other."""
    for side, pictures in a.items():
        for other_side, others in b.items():
            if across and side == other_side:
                continue
            pairs = {(i, others[0]) for i in pictures} | ({(pictures[0], j) for j in others} if not same else set())
            yield from ((min(pair), max(pair)) for pair in pairs if pair[0] != pair[1])


def _bands(count: int) -> Hashes:
    """Masks that divide the 64 bits into `count` bands.

    Every band takes bits from all over the hash: neighbouring bits belong to neighbouring frequencies, which are alike
    in similar pictures, so bands of neighbours would fill a few large buckets.
    """
    bands = [sum(1 << bit for bit in range(k, HASH_BITS, count)) for k in range(min(count, HASH_BITS))]
    return np.array(bands, np.uint64)


def _masks(hashes: int, max_bits: int) -> Hashes:
    """Masks of which one at least leaves two hashes equal that differ in at most `max_bits` bits.

    More equal bands make more masks, each with smaller buckets: the time for many hashes grows no longer with the
    square of their number. At 4 bits there are 5 masks for 140,000 hashes, and 15 from 300,000 on.

    Args:
        hashes: number of hashes.
        max_bits: largest number of differing bits.
    """

    def comparisons(equal: int) -> float:
        bits = HASH_BITS * equal / (max_bits + equal)
        return comb(max_bits + equal, equal) * (_SORTING + hashes / 2**bits / 2)

    equal = min(range(1, min(MAX_EQUAL_BANDS, HASH_BITS - max_bits) + 1), key=comparisons)
    unions = [np.bitwise_or.reduce(chosen) for chosen in combinations(_bands(max_bits + equal), equal)]
    return np.array(unions, np.uint64)


def _pairs_under_mask(hashes: Hashes, masks: Hashes, max_bits: int) -> tuple[Integers, Integers]:
    """Pairs that are equal under the last of `masks` and under none before it, which would have found them already."""
    keys = hashes & masks[-1]
    order = np.argsort(keys, kind="stable")
    keys, ordered = keys[order], hashes[order]
    pairs: list[tuple[Integers, Integers]] = []
    left = np.arange(len(hashes) - 1)
    step = 1
    # Each with the one `step` further, as long as that is in the same bucket: memory stays linear in n.
    while len(left):
        left = left[keys[left] == keys[left + step]]
        differing = ordered[left] ^ ordered[left + step]
        near = np.flatnonzero(np.bitwise_count(differing) <= max_bits)
        for mask in masks[:-1]:
            near = near[(differing[near] & mask) != 0]
        pairs.append((order[left[near]], order[left[near] + step]))
        step += 1
        left = left[left + step < len(hashes)]
    first = np.concatenate([np.empty(0, np.int64), *(pair[0] for pair in pairs)])
    second = np.concatenate([np.empty(0, np.int64), *(pair[1] for pair in pairs)])
    return np.minimum(first, second), np.maximum(first, second)
