"""Table of predictions (CSV) -> one model's scores on the test pictures (n,), and the slices that these fall into."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NOT_SLICES = ("path", "label", "p_fake")  # of a table's columns; every other one says what a picture is
MAX_KINDS = 12  # a column of more values is a figure of each picture, not a kind of pictures


@dataclass(frozen=True, eq=False)
class Scores:
    """How one model judged one set of test pictures.

    Attributes:
        paths: (n,) names, sorted, so that two models' scores stand side by side.
        labels: (n,), 1 = fake.
        p_fake: (n,), 0..1, calibrated.
        flag: the model's own threshold; at or above it an answer is "fake".
        test_digest: of the test pictures.
        slices: name -> (n,) bool, for example `source: faces`.
    """

    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    p_fake: NDArray[np.float64]
    flag: float
    test_digest: str
    slices: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def right(self) -> NDArray[np.bool_]:
        """(n,): whether the answer at `flag` is true."""
        return np.asarray((self.p_fake >= self.flag) == (self.labels == 1))

    def only(self, paths: Sequence[str]) -> Scores:
        """The same scores of some of the pictures."""
        wanted = set(paths)
        kept = np.array([path in wanted for path in self.paths], dtype=bool)
        return replace(
            self,
            paths=tuple(path for path in self.paths if path in wanted),
            labels=self.labels[kept],
            p_fake=self.p_fake[kept],
            slices={name: members[kept] for name, members in self.slices.items()},
        )


def read_scores(predictions: Path, test_digest: str, flag: float) -> Scores:
    """Read a table with the columns path, label (1 = fake), p_fake, and one per kind of slice.

    Args:
        predictions: the table; without a column `source` the source is the first part of a path, as in all reports.
        test_digest: of the test pictures.
        flag: threshold of the model that gave the scores.
    """
    with predictions.open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["path"])
    paths = tuple(row["path"] for row in rows)
    columns = [name for name in (rows[0] if rows else {}) if name not in NOT_SLICES]
    kinds = {name: [row[name] for row in rows] for name in columns}
    return Scores(
        paths=paths,
        labels=np.array([int(row["label"]) for row in rows], dtype=np.int64),
        p_fake=np.array([float(row["p_fake"]) for row in rows], dtype=np.float64),
        flag=flag,
        test_digest=test_digest,
        slices=slices_of({"source": sources_of(paths)} | kinds),
    )


def sources_of(paths: Sequence[str]) -> list[str]:
    """(n,): the source that a picture's path begins with; "" for a bare file name."""
    return [path.partition("/")[0] if "/" in path else "" for path in paths]


def slices_of(kinds: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.bool_]]:
    """`face size` -> (n,) values becomes `face size: small` -> (n,) bool; an empty value belongs nowhere."""
    return {
        f"{kind}: {value}": np.array([other == value for other in values], dtype=bool)
        for kind, values in kinds.items()
        if len(set(values) - {""}) <= MAX_KINDS
        for value in sorted(set(values) - {""})
    }
