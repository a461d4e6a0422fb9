"""Manifest and pictures -> pairs that are one picture saved twice: hashes propose, pixels decide.

A perceptual hash alone accuses the innocent. In 2,400 drawn portraits 85 pairs of different ones differ by 4 bits of 64
or less; of 44 such pairs in 7,200 pictures of the Kaggle set 6 show different people. The other 38 are the same fake
person, made twice with other noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_detector.data.duplicates import find_near_duplicates
from deepfake_detector.data.thumbnails import read_thumbnails

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
