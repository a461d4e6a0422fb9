"""Candidate pictures and the pictures of the data sets, as manifest rows -> which candidate is nearly equal to which.

A perceptual hash proposes, thumbnails confirm, as in `validation.near_duplicates`; here every proposed pair that holds
a candidate is compared, also within one split.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from deepfake_detector.validation.near_duplicates import same_image
from deepfake_detector.validation.thumbnails import read_thumbnails

Pairs = NDArray[np.int64]  # (pairs, 2): row of a candidate, row of the other table


def near_copies(
    candidates: pd.DataFrame, others: pd.DataFrame, archive: Path, max_bits: int, max_unpacked_bytes: int
) -> Pairs:
    """Pairs of a candidate and another picture that are equal, or nearly so.

    Args:
        candidates: rows of a manifest, all readable; n of them.
        others: rows of a manifest. A row with a candidate's own path is not compared with it.
        archive: a folder with the zips of both; only proposed pictures are read.
        max_bits: differing bits of 64 up to which a pair of hashes is proposed.
        max_unpacked_bytes: of one zip; see `Archive`.

    Returns:
        (pairs, 2) row numbers in the two tables.

    Raises:
        ArchiveRejected, UnreadableImage, InputTooLarge: the archives are not those that the manifests describe.
    """
    others = others.reset_index(drop=True)
    readable = np.flatnonzero(others["error"].to_numpy() == "")
    hashes = _hashes(others["phash"].iloc[readable])
    proposed = [
        (row, int(other))
        for row, value in enumerate(_hashes(candidates["phash"]))
        for other in readable[np.bitwise_count(hashes ^ value) <= max_bits]
    ]
    names = [list(map(str, table["path"])) for table in (candidates, others)]
    pairs = [pair for pair in proposed if names[0][pair[0]] != names[1][pair[1]]]
    if not pairs:
        return np.empty((0, 2), np.int64)
    paths = sorted({names[side][pair[side]] for pair in pairs for side in (0, 1)})
    rows = {path: row for row, path in enumerate(paths)}
    thumbnails = read_thumbnails(archive, paths, max_unpacked_bytes)
    first, second = ([rows[names[side][pair[side]]] for pair in pairs] for side in (0, 1))
    return np.array(pairs, np.int64)[same_image(thumbnails[first], thumbnails[second])]


def groups_of_copies(pairs: Pairs, count: int) -> NDArray[np.int64]:
    """Number the groups that pairs of candidates make, copies of copies included; (count,) from 0."""
    ones = np.ones(len(pairs), np.int8)
    links = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def _hashes(phash: pd.Series) -> NDArray[np.uint64]:
    return np.array([int(digits, 16) for digits in phash], np.uint64)
