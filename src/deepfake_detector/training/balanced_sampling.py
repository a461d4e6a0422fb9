"""Index of the shards and weights of the sources -> which crops make each batch: half real, related crops together.

A batch has the same number of reals and fakes whatever the sources hold, so that a source with one class only cannot
teach a network that its camera or codec means real or fake as strongly as its size would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_detector.errors import DataRejected

# Of the pictures with matched copies, shown as they are; docs/generalization.md has what was trained with it.
UNCHANGED_SHARE = 0.4
# A source in which so many of the fakes share a group with a real has its reals and fakes in pairs.
PAIRED_SHARE = 0.5
Indices = NDArray[np.int64]


class Draw(NamedTuple):
    """One crop of a batch."""

    row: int  # of the index
    matched: bool  # a copy with matched degradation
    blended: bool  # a real to turn into a self-blended image


@dataclass(frozen=True)
class Pictures:
    """The training pictures of one source.

    Attributes:
        rows: picture -> rows of the index: the unchanged crop, then its copies with matched degradation.
        classes: for each label, the pictures of that class.
        pairs: for each group with both classes, its reals and its fakes; empty for a source without pairs.
    """

    rows: tuple[Indices, ...]
    classes: tuple[Indices, Indices]
    pairs: tuple[tuple[Indices, Indices], ...]


class BalancedSampler:
    """Chooses the crops of each batch.

    Args:
        index: of the shards, with the columns of `IndexRow`; rows of other splits than train and of sources without a
            weight are left out.
        weights: source -> its share of the batches, relative to the other sources with pictures of the class.
        batch_size: crops in a batch; half of them are real.
        blended_share: so many self-blended images per real of a batch take the places of fakes.

    Raises:
        DataRejected: a class has no picture.
    """

    def __init__(
        self, index: pd.DataFrame, weights: Mapping[str, float], batch_size: int, blended_share: float = 0.0
    ) -> None:
        self.reals = batch_size // 2
        self.blended = min(round(blended_share * self.reals), batch_size - self.reals)
        self.fakes = batch_size - self.reals - self.blended
        rows = index[(index["split"] == "train") & (index["shard"] != "") & index["source"].isin(list(weights))]
        self.sources = {str(name): _pictures(table) for name, table in rows.groupby("source", sort=True)}
        self._shares = [
            _shares({name: weights[name] for name, pictures in self.sources.items() if len(pictures.classes[label])})
            for label in (0, 1)
        ]
        for label, (name, needed) in enumerate((("real", self.reals), ("fake", self.fakes))):
            if needed and not self._shares[label]:
                raise DataRejected(
                    f"balanced sampling found no {name} training picture in {', '.join(weights) or 'any source'}",
                    "add a source with that class, or set train.sampling to uniform",
                )

    @property
    def pictures(self) -> int:
        """Number of training pictures, without copies."""
        return sum(len(pictures.rows) for pictures in self.sources.values())

    def draw(self, rng: np.random.Generator) -> list[Draw]:
        """The crops of one batch: reals, fakes, reals to blend; the same state of `rng` gives the same crops."""
        counts = [_allot(self._shares[label], needed, rng) for label, needed in enumerate((self.reals, self.fakes))]
        drawn: tuple[list[Indices], list[Indices]] = ([], [])
        for name, pictures in self.sources.items():
            reals, fakes = (counts[label].get(name, 0) for label in (0, 1))
            paired = min(reals, fakes) if pictures.pairs else 0
            for _ in range(paired):
                for label, members in enumerate(pictures.pairs[rng.integers(len(pictures.pairs))]):
                    drawn[label].append(pictures.rows[_pick(members, rng)])
            for label, single in enumerate((reals - paired, fakes - paired)):
                drawn[label].extend(pictures.rows[_pick(pictures.classes[label], rng)] for _ in range(single))
        blended = rng.permutation(len(drawn[0]))[: self.blended]
        return [
            *(_choose_copy(rows, rng) for label in (0, 1) for rows in drawn[label]),
            *(Draw(int(drawn[0][i][0]), matched=False, blended=True) for i in blended),
        ]


def _pictures(table: pd.DataFrame) -> Pictures:
    """The pictures of one source; copies are written only for pictures with an unchanged crop."""
    table = table.sort_values(["path", "copy"])
    first = np.flatnonzero(table["copy"] == 0)
    labels = table["label"].to_numpy(np.int64)[first]
    rows = np.split(table.index.to_numpy(np.int64), first[1:])
    classes = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    return Pictures(tuple(rows), classes, _pairs(labels, table["group"].iloc[first]))


def _pairs(labels: Indices, groups: Iterable[str]) -> tuple[tuple[Indices, Indices], ...]:
    members: dict[str, tuple[list[int], list[int]]] = {}
    for picture, (label, group) in enumerate(zip(labels, groups, strict=True)):
        if group:
            members.setdefault(group, ([], []))[label].append(picture)
    pairs = [(np.array(reals), np.array(fakes)) for reals, fakes in members.values() if reals and fakes]
    paired_fakes = sum(len(fakes) for _, fakes in pairs)
    return tuple(pairs) if paired_fakes and paired_fakes >= PAIRED_SHARE * (labels == 1).sum() else ()


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _allot(shares: Mapping[str, float], places: int, rng: np.random.Generator) -> dict[str, int]:
    """Whole numbers with the sum `places`, each of them `places * share` on average and less than 1 away from it."""
    ends = np.cumsum(list(shares.values())) * places
    steps = np.floor(ends + rng.random())
    if len(steps):
        steps[-1] = places  # sums of floats may end just below
    return dict(zip(shares, np.diff(steps, prepend=0).astype(int).tolist(), strict=True))


def _pick(members: Indices, rng: np.random.Generator) -> int:
    return int(members[rng.integers(len(members))])


def _choose_copy(rows: Indices, rng: np.random.Generator) -> Draw:
    """The unchanged crop of a picture, or one of its copies."""
    if len(rows) == 1 or rng.random() < UNCHANGED_SHARE:
        return Draw(int(rows[0]), matched=False, blended=False)
    return Draw(int(rows[rng.integers(1, len(rows))]), matched=True, blended=False)
