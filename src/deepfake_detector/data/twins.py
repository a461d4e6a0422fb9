"""Manifest and pictures -> groups of pictures that are one picture, byte by byte or saved twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from deepfake_detector.data.duplicates import find_near_duplicates
from deepfake_detector.data.lookalikes import same_picture
from deepfake_detector.data.thumbnails import read_thumbnails

Integers = NDArray[np.int64]


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
