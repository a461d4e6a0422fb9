"""Deletion and insertion curves -> one PNG: the map's order against the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from deepfake_detector.evidence.explanation import ORDERS, WAYS, Explanation
from deepfake_detector.evidence.plate import AMBER, FAKE, NEUTRAL, plates

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
