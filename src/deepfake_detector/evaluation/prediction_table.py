"""Table of predictions (CSV) -> one model's scores of the test pictures (n,), with the slices they belong to."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NOT_FACETS = ("path", "label", "p_fake", "use")  # every other column is a property that defines slices
# Values of the column `use`: of `download.sources`, and for a source with `use: test` and `feedback: true`.
TRAINED, LEFT_OUT, FEEDBACK = "train", "test", "feedback"
SOURCE = "source"
MAX_VALUES = 12  # a column with more values identifies pictures, not slices


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """One model's scores of one set of test pictures.

    Attributes:
        paths: (n,) sorted, so that two models' scores can be compared row by row.
        labels: (n,), 1 = fake.
        p_fake: (n,), 0..1, calibrated.
        flag: the model's own threshold; at or above it the answer is "fake".
        test_digest: of the test pictures.
        slices: name -> (n,) bool, for example `source: faces`.
        clear: the model's own threshold; at or below it the answer is "real". None: unknown.
        left_out: sources that no model was trained on (`use: test`).
        feedback: of them, those with held-out feedback, which are compared apart.
    """

    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    p_fake: NDArray[np.float64]
    flag: float
    test_digest: str
    slices: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    clear: float | None = None
    left_out: frozenset[str] = frozenset()
    feedback: frozenset[str] = frozenset()

    @property
    def sources(self) -> list[str]:
        """(n,): the source that each path begins with."""
        return sources_from_paths(self.paths)

    @property
    def trained(self) -> PredictionTable:
        """Without the pictures of left-out sources."""
        return self.without(self.left_out)

    def without(self, sources: Collection[str]) -> PredictionTable:
        """Without the pictures of some sources."""
        return self.only(set(self.sources) - set(sources)) if sources else self

    def only(self, sources: Collection[str]) -> PredictionTable:
        """The pictures of some sources."""
        return self.select([p for p, s in zip(self.paths, self.sources, strict=True) if s in sources])

    @property
    def decided(self) -> NDArray[np.bool_] | None:
        """(n,): whether the answer is "real" or "fake"; None if `clear` is unknown."""
        if self.clear is None:
            return None
        return np.asarray((self.p_fake >= self.flag) | (self.p_fake <= self.clear))

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(n,): whether the prediction at `flag` is right."""
        return np.asarray((self.p_fake >= self.flag) == (self.labels == 1))

    def select(self, paths: Sequence[str]) -> PredictionTable:
        """The rows of some of the pictures."""
        selected = set(paths)
        kept = np.array([path in selected for path in self.paths], dtype=bool)
        return replace(
            self,
            paths=tuple(path for path in self.paths if path in selected),
            labels=self.labels[kept],
            p_fake=self.p_fake[kept],
            slices={name: mask[kept] for name, mask in self.slices.items()},
        )


def read_predictions(path: Path, test_digest: str, flag: float, clear: float | None = None) -> PredictionTable:
    """Read a table with the columns path, label (1 = fake), p_fake, use, and one per property of the pictures.

    Args:
        path: of the CSV; without a column `source` the source is the first part of a picture's path.
        test_digest: of the test pictures.
        flag, clear: thresholds of the model that gave the scores.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["path"])
    paths = tuple(row["path"] for row in rows)
    uses = {(source, row.get("use", TRAINED)) for source, row in zip(sources_from_paths(paths), rows, strict=True)}
    columns = [name for name in (rows[0] if rows else {}) if name not in NOT_FACETS]
    facets = {name: [row[name] for row in rows] for name in columns}
    return PredictionTable(
        paths=paths,
        labels=np.array([int(row["label"]) for row in rows], dtype=np.int64),
        p_fake=np.array([float(row["p_fake"]) for row in rows], dtype=np.float64),
        flag=flag,
        test_digest=test_digest,
        slices=slice_masks({SOURCE: sources_from_paths(paths)} | facets),
        clear=clear,
        left_out=frozenset(source for source, use in uses if use in (LEFT_OUT, FEEDBACK)),
        feedback=frozenset(source for source, use in uses if use == FEEDBACK),
    )


def sources_from_paths(paths: Sequence[str]) -> list[str]:
    """(n,): the source that a picture's path begins with; "" for a bare file name."""
    return [path.partition("/")[0] if "/" in path else "" for path in paths]


def slice_masks(facets: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.bool_]]:
    """`face size` -> (n,) values becomes `face size: small` -> (n,) bool; an empty value belongs to no slice."""
    return {
        f"{facet}: {value}": np.array([other == value for other in values], dtype=bool)
        for facet, values in facets.items()
        if facet == SOURCE or len(set(values) - {""}) <= MAX_VALUES
        for value in sorted(set(values) - {""})
    }
