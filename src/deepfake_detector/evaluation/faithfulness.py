"""Crops (n, side, side, 3) and their logit maps (n, h, w) -> does what the map shows decide? Deletion and insertion.

Cells are taken in the order of the evidence they hold for the answer that was given. Deletion blurs them away one
after the other: the probability of that answer must fall sooner than in any other order. Insertion brings them back
into a wholly blurred crop: it must rise sooner. After Petsiuk et al., "RISE", BMVC 2018. Two other orders are the
measure: a random one, and that of another crop's map, which has the same clumps but in the wrong places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from deepfake_detector.plotting import AMBER, FAKE, NEUTRAL, plates
from deepfake_detector.stats import Estimate, Floats, mean

Pixels = NDArray[np.uint8]
Score = Callable[[Pixels], Floats]  # crops (m, side, side, 3) -> p_fake (m,)
STEPS = 8
ORDERS = ("map", "random", "other map")
WAYS = ("deletion", "insertion")


@dataclass(frozen=True, eq=False)
class Explanation:
    """Curves of the probability of the answer given, over the share of the cells that were changed.

    Attributes:
        crops: how many.
        shares: (k,) from 0 to 1.
        curves: (way, order) -> (k,) mean over the crops.
        areas: (way, order) -> area under the curve.
        gains: (way, order other than "map") -> how much better the map's order is, per crop: above 0 it explains.
    """

    crops: int
    shares: Floats
    curves: Mapping[tuple[str, str], Floats]
    areas: Mapping[tuple[str, str], Estimate]
    gains: Mapping[tuple[str, str], Estimate]

    @property
    def holds(self) -> bool:
        """The map's order is better than each other one, both ways, beyond chance."""
        return all(gain.low > 0 for gain in self.gains.values())

    def as_dict(self) -> dict[str, object]:
        """For a JSON report."""
        gains = {f"{way} against {order}": vars(gain) for (way, order), gain in self.gains.items()}
        areas = {f"{way} by {order}": vars(area) for (way, order), area in self.areas.items()}
        return {"crops": self.crops, "holds": self.holds, "gains": gains, "areas": areas}

    def headline(self) -> dict[str, object]:
        """Gains over the random order, for a metrics file."""
        return {"crops": self.crops} | {way: vars(self.gains[way, "random"]) for way in WAYS}


def explain(crops: Pixels, blurred: Pixels, maps: NDArray[np.float32], score: Score, seed: int = 0) -> Explanation:
    """Delete and insert in three orders.

    Args:
        crops: (n, side, side, 3), at least 2.
        blurred: the same crops, blurred until no trace is left.
        maps: (n, h, w), more than one cell; above 0 speaks for a fake.
        score: what is explained.
        seed: of the random order.
    """
    side = np.where(score(crops) >= 0.5, 1.0, -1.0)
    evidence = maps.reshape(len(maps), -1) * side[:, None]
    rng = np.random.default_rng(seed)
    orders = {
        "map": np.argsort(-evidence, axis=1, kind="stable"),
        "random": rng.permuted(np.tile(np.arange(evidence.shape[1]), (len(maps), 1)), axis=1),
        "other map": np.argsort(-np.roll(evidence, 1, axis=0), axis=1, kind="stable"),
    }
    shares = np.linspace(0, 1, STEPS + 1)
    whole, gone = (_of_the_answer(score(pictures), side) for pictures in (crops, blurred))
    curves = {}
    for way, (start, end) in {"deletion": (crops, blurred), "insertion": (blurred, crops)}.items():
        ends = (whole, gone) if way == "deletion" else (gone, whole)
        for name, order in orders.items():
            between = [_of_the_answer(score(_mixed(start, end, order, part, maps.shape[1:])), side)
                       for part in shares[1:-1]]  # fmt: skip
            curves[way, name] = np.stack([ends[0], *between, ends[1]], axis=1)  # (n, k)
    return _summed(shares, curves)


def _summed(shares: Floats, curves: Mapping[tuple[str, str], Floats]) -> Explanation:
    areas = {key: np.asarray(np.trapezoid(curve, shares, axis=1)) for key, curve in curves.items()}
    better = {"deletion": -1.0, "insertion": 1.0}
    gains = {
        (way, order): mean(better[way] * (areas[way, "map"] - areas[way, order]))
        for way in WAYS
        for order in ORDERS
        if order != "map"
    }
    crops = len(next(iter(curves.values())))
    means = {key: curve.mean(axis=0) for key, curve in curves.items()}
    return Explanation(crops, shares, means, {key: mean(area) for key, area in areas.items()}, gains)


def _of_the_answer(p_fake: Floats, side: Floats) -> Floats:
    return np.where(side > 0, p_fake, 1 - p_fake)


def _mixed(start: Pixels, end: Pixels, order: NDArray[np.int64], part: float, cells: tuple[int, int]) -> Pixels:
    """Crops of `start` whose first `part` of the cells, in each crop's own order, come from `end`."""
    changed = np.zeros(order.shape, bool)
    np.put_along_axis(changed, order[:, : round(part * order.shape[1])], True, axis=1)
    rows = np.arange(start.shape[1]) * cells[0] // start.shape[1]
    columns = np.arange(start.shape[2]) * cells[1] // start.shape[2]
    mask = changed.reshape(-1, *cells)[:, rows][:, :, columns]
    return np.where(mask[..., None], end, start)


LOOKS = {
    "map": (FAKE, "-", "by the crop's own map"),
    "random": (NEUTRAL, "--", "at random"),
    "other map": (AMBER, ":", "by another crop's map"),
}
GOOD = {"deletion": "the sooner it falls, the better", "insertion": "the sooner it rises, the better"}


def draw_explanation(path: Path, explanation: Explanation) -> Path:
    """Draw both ways side by side.

    Args:
        path: of the PNG.
        explanation: measured.
    """

    def draw(axes: NDArray[Any]) -> None:
        for panel, way in zip(axes.flat, WAYS, strict=True):
            _panel(panel, explanation, way)
        axes.flat[0].set_ylabel("probability of the answer first given")

    return plates(path, (9.6, 4.2), (1, len(WAYS)), draw)


def _panel(axes: Axes, explanation: Explanation, way: str) -> None:
    for order in ORDERS:
        colour, style, name = LOOKS[order]
        area = explanation.areas[way, order].value
        axes.plot(explanation.shares, explanation.curves[way, order], style, color=colour, marker="o", markersize=4,
                  linewidth=2, label=f"{name}: area {area:.3f}")  # fmt: skip
    gain = explanation.gains[way, "random"]
    verb = "blurred away" if way == "deletion" else "brought back"
    axes.set(
        xlabel=f"cells {verb}, those with most evidence first", ylim=(-0.02, 1.02),
        title=f"{way.capitalize()}: {GOOD[way]}\nbetter than random by {gain}",
    )  # fmt: skip
    axes.title.set_fontsize("medium")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="best", fontsize="small")
