"""Crops (n, side, side, 3) and their logit maps (n, h, w) -> whether the map's cells decide: deletion and insertion.

Cells are ordered by the evidence they hold for the predicted class. Deletion blurs them one after the other: the
probability of that class must fall sooner than in any other order. Insertion restores them in a wholly blurred crop:
it must rise sooner. After Petsiuk et al., "RISE", BMVC 2018. Two other orders are the baselines: a random one, and
that of another crop's map, which has the same clusters in the wrong cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from deepfake_detector.evaluation.metrics import CropScorer
from deepfake_detector.media.corruptions import blur
from deepfake_detector.plotting import AMBER, FAKE, NEUTRAL, save_subplots
from deepfake_detector.stats import Estimate, Floats, estimate_mean

Pixels = NDArray[np.uint8]
STEPS = 8
ORDERS = ("map", "random", "other map")
METHODS = ("deletion", "insertion")
SIGMA_DIVISOR = 16  # sigma is the side over this: 8 px of 128, where no trace of an encoder or a generator survives


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Curves of the predicted class's probability over the share of changed cells.

    Attributes:
        crops: how many.
        shares: (k,) from 0 to 1.
        curves: (method, order) -> (k,) mean over the crops.
        areas: (method, order) -> area under the curve.
        gains: (method, order other than "map") -> by how much the map's order is better, per crop; above 0 is better.
    """

    crops: int
    shares: Floats
    curves: Mapping[tuple[str, str], Floats]
    areas: Mapping[tuple[str, str], Estimate]
    gains: Mapping[tuple[str, str], Estimate]

    @property
    def faithful(self) -> bool:
        """Whether the map's order is better than both baselines, by both methods, beyond chance."""
        return all(gain.low > 0 for gain in self.gains.values())

    def as_dict(self) -> dict[str, object]:
        """For a JSON report."""
        gains = {f"{method} against {order}": vars(gain) for (method, order), gain in self.gains.items()}
        areas = {f"{method} by {order}": vars(area) for (method, order), area in self.areas.items()}
        return {"crops": self.crops, "faithful": self.faithful, "gains": gains, "areas": areas}

    def headline(self) -> dict[str, object]:
        """Gains over the random order, for reports/evaluate.json."""
        return {"crops": self.crops} | {method: vars(self.gains[method, "random"]) for method in METHODS}


def heatmap_faithfulness(crops: Pixels, maps: NDArray[np.float32], score: CropScorer, seed: int) -> Faithfulness | None:
    """Test the maps of some crops; None where a map has a single cell or there are fewer than two crops.

    Args:
        crops: (n, side, side, 3).
        maps: (n, h, w), the engine's for these crops.
        score: of the calibrated engine.
        seed: of the random order.
    """
    if len(crops) < 2 or maps[0].size < 2:
        return None
    blurred = np.stack([blur(crop, crop.shape[0] / SIGMA_DIVISOR) for crop in crops])
    return measure_faithfulness(crops, blurred, maps, score, seed)


def measure_faithfulness(
    crops: Pixels, blurred: Pixels, maps: NDArray[np.float32], score: CropScorer, seed: int = 0
) -> Faithfulness:
    """Delete and insert cells in three orders.

    Args:
        crops: (n, side, side, 3), at least 2.
        blurred: the same crops, blurred until no trace is left.
        maps: (n, h, w), more than one cell; above 0 is evidence for a fake.
        score: the model under test.
        seed: of the random order.
    """
    sign = np.where(score(crops) >= 0.5, 1.0, -1.0)
    evidence = maps.reshape(len(maps), -1) * sign[:, None]
    rng = np.random.default_rng(seed)
    orders = {
        "map": np.argsort(-evidence, axis=1, kind="stable"),
        "random": rng.permuted(np.tile(np.arange(evidence.shape[1]), (len(maps), 1)), axis=1),
        "other map": np.argsort(-np.roll(evidence, 1, axis=0), axis=1, kind="stable"),
    }
    shares = np.linspace(0, 1, STEPS + 1)
    clean_p, blurred_p = (_predicted_class_probability(score(pictures), sign) for pictures in (crops, blurred))
    curves = {}
    for method, (start, end) in {"deletion": (crops, blurred), "insertion": (blurred, crops)}.items():
        first, last = (clean_p, blurred_p) if method == "deletion" else (blurred_p, clean_p)
        for name, order in orders.items():
            between = [_predicted_class_probability(score(_mixed(start, end, order, share, maps.shape[1:])), sign)
                       for share in shares[1:-1]]  # fmt: skip
            curves[method, name] = np.stack([first, *between, last], axis=1)  # (n, k)
    return _summarize(shares, curves)


def _summarize(shares: Floats, curves: Mapping[tuple[str, str], Floats]) -> Faithfulness:
    areas = {key: np.asarray(np.trapezoid(curve, shares, axis=1)) for key, curve in curves.items()}
    better = {"deletion": -1.0, "insertion": 1.0}
    gains = {
        (method, order): estimate_mean(better[method] * (areas[method, "map"] - areas[method, order]))
        for method in METHODS
        for order in ORDERS
        if order != "map"
    }
    crops = len(next(iter(curves.values())))
    means = {key: curve.mean(axis=0) for key, curve in curves.items()}
    return Faithfulness(crops, shares, means, {key: estimate_mean(area) for key, area in areas.items()}, gains)


def _predicted_class_probability(p_fake: Floats, sign: Floats) -> Floats:
    return np.where(sign > 0, p_fake, 1 - p_fake)


def _mixed(start: Pixels, end: Pixels, order: NDArray[np.int64], share: float, cells: tuple[int, ...]) -> Pixels:
    """Crops of `start` whose first `share` of the cells, in each crop's own order, come from `end`."""
    changed = np.zeros(order.shape, bool)
    np.put_along_axis(changed, order[:, : round(share * order.shape[1])], True, axis=1)
    rows = np.arange(start.shape[1]) * cells[0] // start.shape[1]
    columns = np.arange(start.shape[2]) * cells[1] // start.shape[2]
    mask = changed.reshape(-1, *cells)[:, rows][:, :, columns]
    return np.where(mask[..., None], end, start)


LINES = {
    "map": (FAKE, "-", "own map"),
    "random": (NEUTRAL, "--", "random order"),
    "other map": (AMBER, ":", "another crop's map"),
}
DIRECTION = {"deletion": "lower is better", "insertion": "higher is better"}


def draw_faithfulness(path: Path, faithfulness: Faithfulness) -> Path:
    """Draw both methods side by side.

    Args:
        path: of the PNG.
        faithfulness: measured.
    """

    def draw(axes: NDArray[Any]) -> None:
        for panel, method in zip(axes.flat, METHODS, strict=True):
            _draw_panel(panel, faithfulness, method)
        axes.flat[0].set_ylabel("probability of the predicted class")

    return save_subplots(path, (9.6, 4.2), (1, len(METHODS)), draw)


def _draw_panel(axes: Axes, faithfulness: Faithfulness, method: str) -> None:
    for order in ORDERS:
        colour, style, name = LINES[order]
        area = faithfulness.areas[method, order].value
        axes.plot(faithfulness.shares, faithfulness.curves[method, order], style, color=colour, marker="o",
                  markersize=4, linewidth=2, label=f"{name}: area {area:.3f}")  # fmt: skip
    gain = faithfulness.gains[method, "random"]
    verb = "blurred" if method == "deletion" else "restored"
    axes.set(
        xlabel=f"share of cells {verb}, most evidence first", ylim=(-0.02, 1.02),
        title=f"{method.capitalize()} ({DIRECTION[method]})\ngain over random {gain}",
    )  # fmt: skip
    axes.title.set_fontsize("medium")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="best", fontsize="small")
