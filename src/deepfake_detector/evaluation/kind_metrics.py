"""Logits (n, k) of the kinds of fakes and true kinds (n,) -> how often flagged fakes get the right kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.inference.decision import kind_shares, likely_kind
from deepfake_detector.stats import Estimate, Floats, Labels, estimate_proportion


@dataclass(frozen=True)
class KindMetrics:
    """Kinds that answers give to the fakes that are flagged.

    Attributes:
        flagged: fakes at or above `flag` whose kind the model knows.
        named: share of them that gets a kind; for the others it is unclear.
        right: share of the named ones with the right kind; None if there are none.
        per_kind: true kind -> share of its named fakes with the right kind.
    """

    flagged: int
    named: Estimate
    right: Estimate | None
    per_kind: dict[str, Estimate]

    def as_dict(self) -> dict[str, object]:
        """For a JSON report; an unknown metric is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def measure_kinds(
    logits: Floats, p_fake: Floats, labels: Labels, kinds: Sequence[str], names: Sequence[str], flag: float
) -> KindMetrics | None:
    """Compare the kinds that answers give with the true ones.

    Args:
        logits: (n, k) of each kind against "real".
        p_fake: (n,) calibrated.
        labels: (n,), 1 = fake.
        kinds: (n,) true kinds; "" for a real picture.
        names: (k,) of the columns of `logits`.
        flag: threshold.

    Returns:
        None if the model cannot tell kinds apart.
    """
    if len(names) < 2:
        return None
    true = np.array(kinds)
    rows = np.flatnonzero((labels == 1) & (p_fake >= flag) & np.isin(true, list(names)))
    likely = [likely_kind(shares) for shares in kind_shares(logits[rows].astype(np.float32), names)]
    given = np.array(["" if each is None else each[0] for each in likely], dtype=object)
    named, right = given != "", given == true[rows]
    return KindMetrics(
        flagged=len(rows),
        named=estimate_proportion(int(named.sum()), len(rows)),
        right=_share(right, named),
        per_kind={name: share for name in names if (share := _share(right, named & (true[rows] == name)))},
    )


def _share(right: NDArray[np.bool_], among: NDArray[np.bool_]) -> Estimate | None:
    count = int(among.sum())
    return estimate_proportion(int((right & among).sum()), count) if count else None
