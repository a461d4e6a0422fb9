"""Labels and what is known of each picture -> how differently the two classes carry it, and whether that is chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_LABELLINGS = 1000  # random ones; none of them may separate the classes as well: p < 0.001
_COMMON = 200  # values told apart; the rest are one. Photographs from many cameras have thousands of tables


def separation(counts: NDArray[np.int64]) -> float:
    """Total variation distance between the classes: half the sum of differences of their shares, 0 to 1.

    A rule that sees nothing but this property is right in 0.5 + distance / 2 of even classes, and no rule is better.

    Args:
        counts: (values, 2), pictures of each class that carry each value.
    """
    shares = counts / counts.sum(axis=0)
    return float(np.abs(shares[:, 0] - shares[:, 1]).sum() / 2)


def by_chance(counts: NDArray[np.int64], seed: int = 0) -> float:
    """Share of random labellings of the same pictures that separate the classes at least as well (a p-value).

    Rare values alone separate two small classes well: with a value per picture the distance is 1 and means nothing.
    Drawing labels anew and counting is drawing from the multivariate hypergeometric distribution, so this is exact up
    to the number of draws and takes no longer for more pictures.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.multivariate_hypergeometric(counts.sum(axis=1), int(counts[:, 1].sum()), size=_LABELLINGS)
    pairs = np.stack([counts.sum(axis=1) - drawn, drawn], axis=-1)
    shares = pairs / counts.sum(axis=0)
    distances = np.abs(shares[..., 0] - shares[..., 1]).sum(axis=1) / 2
    return float((1 + (distances >= separation(counts) - 1e-12).sum()) / (1 + _LABELLINGS))


def telltales(classes: pd.Series, values: pd.Series, max_gap: float) -> Mask:
    """Pictures whose value gives their class away.

    Args:
        classes: (n,) two different names or numbers; if there is only one, nothing is given away.
        values: (n,) of any kind.
        max_gap: distance that is let pass, see `separation`.

    Returns:
        (n,) True on pictures of the class in which their value is the more frequent, except for the most frequent
        value of all; all False if the distance is small, or likely by chance.
    """
    # Rows, not the index: it need not be unique.
    kind, value = classes.to_numpy(), _pooled(values)
    table = pd.crosstab(value, kind)
    counts = table.to_numpy(np.int64)
    if table.shape[1] != 2 or separation(counts) <= max_gap or by_chance(counts) > 1 / _LABELLINGS:
        return np.zeros(len(kind), np.bool_)
    shares = counts / counts.sum(axis=0)
    side = np.where(shares[:, 1] > shares[:, 0], table.columns[1], table.columns[0])
    side_of = dict(zip(table.index, side, strict=True))
    usual = table.sum(axis=1).idxmax()
    return np.array([v != usual and side_of[v] == k for v, k in zip(value, kind, strict=True)], np.bool_)


def _pooled(values: pd.Series) -> NDArray[np.object_]:
    common = set(values.value_counts().index[:_COMMON])
    return np.array([str(v) if v in common else "(rare)" for v in values], object)
