"""Outcomes of the robustness grid -> one PNG: a panel per way of degrading, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from deepfake_detector.evidence.plate import AMBER, FAKE, NEUTRAL, REAL, plates
from deepfake_detector.evidence.robustness import CLEAN, Grid, Outcome

# Attribute, name, colour, style; the last two lie lowest in the picture when all is well.
CURVES: tuple[tuple[str, str, str, Literal["solid", "dotted"]], ...] = (
    ("auc", "AUC", REAL, "solid"),
    ("accuracy", "accuracy at 0.5", NEUTRAL, "solid"),
    ("caught", "fakes found at flag", FAKE, "solid"),
    ("false_alarms", "real called fake at flag", AMBER, "solid"),
    ("coverage", "share judged", NEUTRAL, "dotted"),
)
COLUMNS = 4
MILD_IS_HIGH = ("JPEG quality", "WebP quality", "resized and back", "saved twice")  # levels that fall as damage grows


def draw_robustness(path: Path, grid: Grid) -> Path:
    """Draw all sources together, each family of conditions in a panel that starts with the clean pictures.

    Args:
        path: of the PNG.
        grid: measured.
    """
    outcomes = grid.of()
    clean = next(outcome for outcome in outcomes if outcome.condition == CLEAN)
    families = list(dict.fromkeys(outcome.family for outcome in outcomes if outcome.condition != CLEAN))
    rows = -(-len(families) // COLUMNS)

    def draw(axes: NDArray[Any]) -> None:
        for place, family in enumerate(families):
            panel: Axes = axes.flat[place]
            _panel(panel, clean, _ordered(family, [o for o in outcomes if o.family == family]))
            if place % COLUMNS == 0:
                panel.set_ylabel("share of pictures; AUC")
        for empty in axes.flat[len(families) :]:
            empty.set_axis_off()
        handles = [Line2D([], [], color=c, linestyle=s, marker="o", markersize=4, label=n) for _, n, c, s in CURVES]
        figure = axes.flat[0].figure
        figure.legend(handles=handles, loc="outside lower center", ncols=len(CURVES), frameon=False)
        figure.suptitle(
            f"{clean.images} test pictures, degraded whole; thresholds stay those of validation, bands: 95 %"
        )

    return plates(path, (13.0, 1.0 + 3.0 * rows), (rows, COLUMNS), draw)


def _ordered(family: str, outcomes: Sequence[Outcome]) -> list[Outcome]:
    return sorted(outcomes, key=lambda outcome: outcome.level, reverse=family in MILD_IS_HIGH)


def _panel(axes: Axes, clean: Outcome, outcomes: Sequence[Outcome]) -> None:
    first = 1 if outcomes[0].family == "crop margin" else 0  # one tighter, one wider: the clean crop lies between
    shown = [*outcomes[:first], clean, *outcomes[first:]]
    places = np.arange(len(shown))
    for attribute, _, colour, style in CURVES:
        known = [(place, getattr(o, attribute)) for place, o in zip(places, shown, strict=True)]
        known = [(place, estimate) for place, estimate in known if estimate is not None]
        if not known:
            continue
        x = [place for place, _ in known]
        axes.plot(
            x, [e.value for _, e in known], linestyle=style, color=colour, marker="o", markersize=4, linewidth=1.8
        )
        axes.fill_between(x, [e.low for _, e in known], [e.high for _, e in known], color=colour, alpha=0.12, lw=0)
    axes.set(title=outcomes[0].family, ylim=(-0.03, 1.03), xlim=(-0.3, len(shown) - 0.7))
    axes.set_xticks(places, ["clean" if o is clean else f"{o.level:g}" for o in shown])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="x", visible=False)
