"""A manifest -> whether the labels of each split point the same way as those of the others: a row per split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_detector.datasets.archive import LABELS, SPLITS

_PLAIN = ("bytes", "brightness", "contrast", "sharpness")
_HASH_BITS = 64
_COUNT = 2 * len(_PLAIN) + _HASH_BITS  # of figures
_AT_ONCE = 4096
_LEAST = 10  # pictures of each class on either side; with fewer no direction shows
_SURE = 4.0  # standard errors: one split in 30,000 by chance
_RIDGE = 1e-3  # on standardised figures: only keeps two figures that are one from dividing by zero

Figures = NDArray[np.float64]  # (n, figures) or (figures,)


def split_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """Ask a rule learnt on the other splits of a source which of two pictures of this split is the fake.

    The rule sees only plain figures: bytes, brightness, contrast, sharpness and the bits of the perceptual hash. It
    may know next to nothing, but it must not be surely WRONG, unless somebody exchanged the two classes here. On the
    Kaggle set it reaches an AUC of 0.68, on the drawn sample 0.8; on face swaps 0.58, too little to notice an exchange
    in 400 pictures. A few exchanged pictures it cannot notice anywhere.

    Returns:
        A row per split of each source: `path` (split of source), `auc` of the rule, and `auc_high`, four standard
        errors above. Missing where a side has under ten pictures of a class, or where this split holds more pictures
        than the others together: then it is they that are asked.
    """
    rows = []
    known = manifest[(manifest["error"] == "") & manifest["label"].isin(LABELS.values())]
    for source in sorted(known["source"].unique()):
        part = known[known["source"] == source]
        for split in SPLITS:
            inside = part["split"] == split
            auc, error = _asked(part[~inside], part[inside])
            path = f"{split} of {source}" if source else split
            rows.append({"path": path, "auc": auc, "auc_high": auc + _SURE * error})
    return pd.DataFrame(rows, columns=["path", "auc", "auc_high"])


def _asked(others: pd.DataFrame, split: pd.DataFrame) -> tuple[float, float]:
    """AUC on a split and its standard error, of a rule learnt on the others."""
    fewest = min(int((part["label"] == label).sum()) for part in (others, split) for label in LABELS.values())
    if fewest < _LEAST or len(others) < len(split):
        return np.nan, np.nan
    centre, rule = direction(others)
    scores = np.concatenate([(figures - centre) @ rule for figures, _ in _figures(split)])
    auc, error = rank_auc(scores, split["label"].to_numpy(np.int64))
    return auc, error * float(np.sqrt(len(split) / split["group"].nunique()))  # a group is one witness


def _figures(rows: pd.DataFrame) -> Iterator[tuple[Figures, NDArray[np.int64]]]:
    """Figures and labels, some thousand rows at a time: all at once they take ten times the manifest's memory."""
    for start in range(0, len(rows), _AT_ONCE):
        some = rows.iloc[start : start + _AT_ONCE]
        plain = some[list(_PLAIN)].to_numpy(np.float64)
        hashes = np.array([int(digits, 16) for digits in some["phash"]], np.uint64)
        bits = (hashes[:, None] >> np.arange(_HASH_BITS, dtype=np.uint64)) & np.uint64(1)
        yield np.hstack([plain, np.log(np.maximum(plain, 1e-3)), bits]), some["label"].to_numpy(np.int64)


def direction(rows: pd.DataFrame) -> tuple[Figures, Figures]:
    """Fisher's linear discriminant: where fakes lie, seen from real pictures.

    Args:
        rows: n of a manifest, of both classes.

    Returns:
        The middle of all (figures,), and the weights (figures,) of what is seen from there.
    """
    sums = np.zeros((len(LABELS), _COUNT))
    for figures, labels in _figures(rows):
        sums += [figures[labels == label].sum(axis=0) for label in LABELS.values()]
    centre = sums.sum(axis=0) / len(rows)
    spread = np.zeros((_COUNT, _COUNT))
    for figures, _ in _figures(rows):
        spread += (figures - centre).T @ (figures - centre) / len(rows)
    scale = np.maximum(np.sqrt(np.diag(spread)), 1e-9)
    real, fake = (sums[label] / (rows["label"] == label).sum() for label in (0, 1))
    weights = np.linalg.solve(spread / np.outer(scale, scale) + _RIDGE * np.eye(_COUNT), (fake - real) / scale)
    return centre, weights / scale


def rank_auc(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Area under the ROC curve, and its standard error where scores say nothing (Mann and Whitney 1947)."""
    n_fake = int((labels == 1).sum())
    n_real = len(labels) - n_fake
    ranks = pd.Series(scores).rank().to_numpy()
    auc = (ranks[labels == 1].sum() - n_fake * (n_fake + 1) / 2) / (n_fake * n_real)
    return float(auc), float(np.sqrt((len(labels) + 1) / (12 * n_fake * n_real)))
