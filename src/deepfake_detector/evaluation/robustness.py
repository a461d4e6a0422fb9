"""Scores of pictures in every condition -> figures per condition and source, and their mean over the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from deepfake_detector.plotting import AMBER, FAKE, NEUTRAL, REAL, plates
from deepfake_detector.stats import Estimate, auc, between, draw, share, share_of

ALL = "all"
CLEAN = "clean"


@dataclass(frozen=True)
class Outcome:
    """How well one model does on pictures in one condition, at thresholds fixed on clean validation pictures.

    Attributes:
        condition, family, level: for example "JPEG 50", "JPEG", 50.
        source: a source's name, or "all".
        coverage: share of the pictures that show a face fit to be judged.
        accuracy, auc, caught, false_alarms: of the judged ones, at p_fake >= 0.5, over all thresholds, and at `flag`;
            None where a class is missing.
        strict_accuracy: of all pictures; one that is not judged counts as wrong.
    """

    condition: str
    family: str
    level: float
    source: str
    images: int
    coverage: Estimate
    accuracy: Estimate
    strict_accuracy: Estimate
    auc: Estimate | None
    caught: Estimate | None
    false_alarms: Estimate | None

    def as_row(self) -> dict[str, Any]:
        """For a table: every estimate in three columns, empty where it is not known."""
        row: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if isinstance(value, dict):
                row |= {name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
            else:
                row[name] = value
        return row


@dataclass(frozen=True)
class Mean:
    """Accuracy, meant over all conditions but the clean one; each condition counts the same."""

    images: int
    accuracy: Estimate  # of the judged pictures
    strict_accuracy: Estimate  # pictures that are not judged count as wrong
    coverage: float


@dataclass(frozen=True)
class Grid:
    """The whole grid; `means` has an entry per source and one for all."""

    outcomes: tuple[Outcome, ...]
    means: dict[str, Mean]

    def of(self, source: str = ALL) -> list[Outcome]:
        """Outcomes of one source, in the order of the conditions."""
        return [outcome for outcome in self.outcomes if outcome.source == source]

    @property
    def sources(self) -> list[str]:
        """Named sources; empty if there is only one, which is then all there is."""
        return [name for name in self.means if name != ALL]


def measure_grid(scored: pd.DataFrame, flag: float, resamples: int, seed: int = 0) -> Grid:
    """Figures of a grid.

    Args:
        scored: a row per picture and condition: path, source, label, condition, family, level, p_fake (NaN: not
            judged). Conditions are told in the order in which they first appear; each has the same pictures.
        flag: threshold of `caught` and `false_alarms`.
        resamples: bootstrap draws of pictures, each with all its conditions, behind the intervals of the means.
        seed: of the draws.
    """
    means = {source: _mean(rows, resamples, seed) for source, rows in _parts(scored).items()}
    return Grid(measure_outcomes(scored, flag), means)


def measure_outcomes(scored: pd.DataFrame, flag: float) -> tuple[Outcome, ...]:
    """Figures of each condition, for all pictures together and, if there are several sources, for each of them.

    Args:
        scored: as for `measure_grid`.
        flag: threshold of `caught` and `false_alarms`.
    """
    return tuple(
        _outcome(rows, source, flag)
        for source, part in _parts(scored).items()
        for _, rows in part.groupby("condition", sort=False)
    )


def worst(outcomes: Sequence[Outcome], count: int = 3) -> list[Outcome]:
    """Conditions in which most answers are wrong, the worst first."""
    degraded = [outcome for outcome in outcomes if outcome.condition != CLEAN]
    return sorted(degraded, key=lambda outcome: outcome.strict_accuracy.value)[:count]


def _parts(scored: pd.DataFrame) -> dict[str, pd.DataFrame]:
    names = sorted(scored["source"].unique())
    return {ALL: scored} | ({name: scored[scored["source"] == name] for name in names} if len(names) > 1 else {})


def _outcome(rows: pd.DataFrame, source: str, flag: float) -> Outcome:
    judged = rows[rows["p_fake"].notna()]
    p_fake, labels = judged["p_fake"].to_numpy(np.float64), judged["label"].to_numpy(np.int64)
    right = int(((p_fake >= 0.5) == labels).sum())
    first = rows.iloc[0]
    return Outcome(
        condition=first["condition"],
        family=first["family"],
        level=float(first["level"]),
        source=source,
        images=len(rows),
        coverage=share(len(judged), len(rows)),
        accuracy=share(right, len(judged)),
        strict_accuracy=share(right, len(rows)),
        auc=auc(p_fake, labels),
        caught=share_of(p_fake[labels == 1] >= flag),
        false_alarms=share_of(p_fake[labels == 0] >= flag),
    )


def _mean(scored: pd.DataFrame, resamples: int, seed: int) -> Mean:
    degraded = scored[scored["condition"] != CLEAN]
    wide = degraded.pivot(index="path", columns="condition", values="p_fake")
    labels = degraded.groupby("path")["label"].first().loc[wide.index].to_numpy(np.int64)
    p_fake = wide.to_numpy(np.float64)
    judged = ~np.isnan(p_fake)
    right = judged & ((p_fake >= 0.5) == (labels == 1)[:, None])
    # A draw is how often each picture was drawn; (resamples, n) x (n, conditions) counts all conditions at once.
    weights = np.stack([np.bincount(i, minlength=len(labels)) for i in draw(labels, resamples, seed)]).astype(float)
    drawn = (weights @ right / np.maximum(1, weights @ judged)).mean(axis=1)
    value = float((right.sum(axis=0) / np.maximum(1, judged.sum(axis=0))).mean())
    strictly = (weights @ right / len(labels)).mean(axis=1)
    return Mean(
        images=len(labels),
        accuracy=between(drawn, value),
        strict_accuracy=between(strictly, float(right.mean())),
        coverage=float(judged.mean()),
    )


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
