"""Labels (n,) and one property (n,) of pictures -> how well it separates the classes, and which pictures it reveals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_PERMUTATIONS = 1000  # none of them may separate the classes as well: p < 0.001
_MAX_VALUES = 200  # distinct ones; the rest count as one. Photographs from many cameras have thousands of tables


def total_variation(counts: NDArray[np.int64]) -> float:
    """Total variation distance between the classes: half the sum of differences of their shares, 0 to 1.

    The best rule that sees this property alone is right in 0.5 + distance / 2 of balanced classes.

    Args:
        counts: (values, 2), pictures of each class with each value.
    """
    shares = counts / counts.sum(axis=0)
    return float(np.abs(shares[:, 0] - shares[:, 1]).sum() / 2)


def permutation_p_value(counts: NDArray[np.int64], seed: int = 0) -> float:
    """Share of random labellings of the same pictures that separate the classes at least as well.

    Rare values alone separate two small classes well: with one value per picture the distance is 1 and means nothing.
    Permuting labels and counting equals drawing from the multivariate hypergeometric distribution, so the result is
    exact up to the number of draws, and its time does not depend on the number of pictures.

    Args:
        counts: (values, 2), pictures of each class with each value.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.multivariate_hypergeometric(counts.sum(axis=1), int(counts[:, 1].sum()), size=_PERMUTATIONS)
    pairs = np.stack([counts.sum(axis=1) - drawn, drawn], axis=-1)
    shares = pairs / counts.sum(axis=0)
    distances = np.abs(shares[..., 0] - shares[..., 1]).sum(axis=1) / 2
    return float((1 + (distances >= total_variation(counts) - 1e-12).sum()) / (1 + _PERMUTATIONS))


def leaking_rows(classes: pd.Series, values: pd.Series, max_distance: float) -> Mask:
    """Pictures whose value reveals their class.

    Args:
        classes: (n,) two different names or numbers; with only one, no picture is marked.
        values: (n,) of any type.
        max_distance: allowed distance, see `total_variation`.

    Returns:
        (n,) True for pictures of the class in which their value is more frequent, except for the most frequent value
        of all; all False if the distance is allowed or could be chance.
    """
    # Rows, not the index: it need not be unique.
    names, pooled = classes.to_numpy(), _pool_rare_values(values)
    table = pd.crosstab(pooled, names)
    counts = table.to_numpy(np.int64)
    if (
        table.shape[1] != 2
        or total_variation(counts) <= max_distance
        or permutation_p_value(counts) > 1 / _PERMUTATIONS
    ):
        return np.zeros(len(names), np.bool_)
    shares = counts / counts.sum(axis=0)
    likelier = np.where(shares[:, 1] > shares[:, 0], table.columns[1], table.columns[0])
    class_of = dict(zip(table.index, likelier, strict=True))
    usual = table.sum(axis=1).idxmax()
    return np.array([v != usual and class_of[v] == k for v, k in zip(pooled, names, strict=True)], np.bool_)


def _pool_rare_values(values: pd.Series) -> NDArray[np.object_]:
    common = set(values.value_counts().index[:_MAX_VALUES])
    return np.array([str(value) if value in common else "(rare)" for value in values], object)
