"""Scores per picture and condition -> metrics per condition and source, their mean over the grid, and a figure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from deepfake_detector.plotting import AMBER, FAKE, NEUTRAL, REAL, save_subplots
from deepfake_detector.stats import (
    Estimate,
    estimate_auc,
    estimate_proportion,
    estimate_proportion_of,
    percentile_interval,
    stratified_bootstrap,
)

ALL_SOURCES = "all"
CLEAN = "clean"


@dataclass(frozen=True)
class ConditionMetrics:
    """Metrics of one model under one condition, at thresholds that were fixed on the validation split.

    Attributes:
        condition, family, level: for example "JPEG 50", "JPEG quality", 50.
        source: a source's name, or "all".
        coverage: share of the pictures that show a scorable face.
        accuracy, auc, true_positive_rate, false_positive_rate: of the scored pictures, at p_fake >= 0.5, over all
            thresholds, and at `flag`; None where a class is missing.
        overall_accuracy: of all pictures; one without a scorable face counts as wrong.
    """

    condition: str
    family: str
    level: float
    source: str
    images: int
    coverage: Estimate
    accuracy: Estimate
    overall_accuracy: Estimate
    auc: Estimate | None
    true_positive_rate: Estimate | None
    false_positive_rate: Estimate | None

    def as_row(self) -> dict[str, Any]:
        """For a table: each estimate in three columns, empty where it is unknown."""
        row: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if isinstance(value, dict):
                row |= {name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
            else:
                row[name] = value
        return row


@dataclass(frozen=True)
class MeanMetrics:
    """Means over all conditions but the clean one; each condition has the same weight."""

    images: int
    accuracy: Estimate  # of the scored pictures
    overall_accuracy: Estimate  # pictures without a scorable face count as wrong
    coverage: float


@dataclass(frozen=True)
class GridMetrics:
    """Metrics of the whole grid; `means` has an entry per source and one for all."""

    conditions: tuple[ConditionMetrics, ...]
    means: dict[str, MeanMetrics]

    def of_source(self, source: str = ALL_SOURCES) -> list[ConditionMetrics]:
        """Conditions of one source, in the order of the grid."""
        return [condition for condition in self.conditions if condition.source == source]

    @property
    def sources(self) -> list[str]:
        """Names of the sources; empty if there is only one."""
        return [name for name in self.means if name != ALL_SOURCES]


def measure_grid(
    scores: pd.DataFrame, flag: float, resamples: int, seed: int = 0, left_out: Collection[str] = ()
) -> GridMetrics:
    """Metrics of a grid.

    Args:
        scores: a row per picture and condition: path, source, label, condition, family, level, p_fake (NaN without a
            scorable face). Conditions keep the order in which they first appear; each has the same pictures.
        flag: threshold of the true and false positive rate.
        resamples: of the bootstrap behind the means' intervals; it draws pictures, each with all its conditions.
        seed: of the bootstrap.
        left_out: sources that were never trained on; they are measured apart and do not count among all.
    """
    parts = _by_source(scores, left_out)
    means = {source: _mean_metrics(rows, resamples, seed) for source, rows in parts.items()}
    return GridMetrics(measure_conditions(scores, flag, left_out), means)


def measure_conditions(
    scores: pd.DataFrame, flag: float, left_out: Collection[str] = ()
) -> tuple[ConditionMetrics, ...]:
    """Metrics of each condition, for all pictures together and, if there are several sources, for each of them.

    Args:
        scores: as for `measure_grid`.
        flag: threshold of the true and false positive rate.
        left_out: see `measure_grid`.
    """
    return tuple(
        _condition_metrics(rows, source, flag)
        for source, part in _by_source(scores, left_out).items()
        for _, rows in part.groupby("condition", sort=False)
    )


def worst_conditions(conditions: Sequence[ConditionMetrics], count: int = 3) -> list[ConditionMetrics]:
    """The corruptions with the lowest overall accuracy, the lowest first."""
    corrupted = [condition for condition in conditions if condition.condition != CLEAN]
    return sorted(corrupted, key=lambda condition: condition.overall_accuracy.value)[:count]


def _by_source(scores: pd.DataFrame, left_out: Collection[str]) -> dict[str, pd.DataFrame]:
    names = sorted(scores["source"].unique())
    parts = {name: scores[scores["source"] == name] for name in names} if len(names) > 1 else {}
    return {ALL_SOURCES: scores[~scores["source"].isin(left_out)]} | parts


def _condition_metrics(rows: pd.DataFrame, source: str, flag: float) -> ConditionMetrics:
    scored = rows[rows["p_fake"].notna()]
    p_fake, labels = scored["p_fake"].to_numpy(np.float64), scored["label"].to_numpy(np.int64)
    correct = int(((p_fake >= 0.5) == labels).sum())
    first = rows.iloc[0]
    return ConditionMetrics(
        condition=first["condition"],
        family=first["family"],
        level=float(first["level"]),
        source=source,
        images=len(rows),
        coverage=estimate_proportion(len(scored), len(rows)),
        accuracy=estimate_proportion(correct, len(scored)),
        overall_accuracy=estimate_proportion(correct, len(rows)),
        auc=estimate_auc(p_fake, labels),
        true_positive_rate=estimate_proportion_of(p_fake[labels == 1] >= flag),
        false_positive_rate=estimate_proportion_of(p_fake[labels == 0] >= flag),
    )


def _mean_metrics(scores: pd.DataFrame, resamples: int, seed: int) -> MeanMetrics:
    corrupted = scores[scores["condition"] != CLEAN]
    wide = corrupted.pivot(index="path", columns="condition", values="p_fake")
    labels = corrupted.groupby("path")["label"].first().loc[wide.index].to_numpy(np.int64)
    p_fake = wide.to_numpy(np.float64)
    scored = ~np.isnan(p_fake)
    correct = scored & ((p_fake >= 0.5) == (labels == 1)[:, None])
    # Each resample is the number of times each picture was drawn; (resamples, n) x (n, conditions) counts all at once.
    rows = stratified_bootstrap(labels, resamples, seed)
    weights = np.stack([np.bincount(i, minlength=len(labels)) for i in rows]).astype(float)
    # A condition under which nothing is scored, such as dithering, has no accuracy; coverage shows it.
    kept = scored.any(axis=0) if scored.any() else np.ones(scored.shape[1], np.bool_)
    replicates = (weights @ correct[:, kept] / np.maximum(1, weights @ scored[:, kept])).mean(axis=1)
    value = float((correct[:, kept].sum(axis=0) / np.maximum(1, scored[:, kept].sum(axis=0))).mean())
    overall_replicates = (weights @ correct / len(labels)).mean(axis=1)
    return MeanMetrics(
        images=len(labels),
        accuracy=percentile_interval(replicates, value),
        overall_accuracy=percentile_interval(overall_replicates, float(correct.mean())),
        coverage=float(scored.mean()),
    )


# Attribute, label, colour, style; the last two lie lowest in the figure of a good model.
CURVES: tuple[tuple[str, str, str, Literal["solid", "dotted"]], ...] = (
    ("auc", "AUC", REAL, "solid"),
    ("accuracy", "accuracy at 0.5", NEUTRAL, "solid"),
    ("true_positive_rate", "true positive rate at flag", FAKE, "solid"),
    ("false_positive_rate", "false positive rate at flag", AMBER, "solid"),
    ("coverage", "coverage (scorable face)", NEUTRAL, "dotted"),
)
COLUMNS = 4
MILD_IS_HIGH = ("JPEG quality", "WebP quality", "downscaling factor", "double JPEG")  # levels that fall with severity


def draw_robustness(path: Path, grid: GridMetrics) -> Path:
    """Draw all sources together, one panel per family of conditions; each panel starts with the clean pictures.

    Args:
        path: of the PNG.
        grid: measured.
    """
    conditions = grid.of_source()
    clean = next(condition for condition in conditions if condition.condition == CLEAN)
    families = list(dict.fromkeys(each.family for each in conditions if each.condition != CLEAN))
    rows = -(-len(families) // COLUMNS)

    def draw(axes: NDArray[Any]) -> None:
        for i, family in enumerate(families):
            panel: Axes = axes.flat[i]
            _draw_panel(panel, clean, _by_severity(family, [each for each in conditions if each.family == family]))
            if i % COLUMNS == 0:
                panel.set_ylabel("metric")
        for empty in axes.flat[len(families) :]:
            empty.set_axis_off()
        handles = [Line2D([], [], color=c, linestyle=s, marker="o", markersize=4, label=n) for _, n, c, s in CURVES]
        figure = axes.flat[0].figure
        figure.legend(handles=handles, loc="outside lower center", ncols=len(CURVES), frameon=False)
        figure.suptitle(f"{clean.images} test pictures, corrupted before face detection; bands are 95 % intervals")

    return save_subplots(path, (13.0, 1.0 + 3.0 * rows), (rows, COLUMNS), draw)


def _by_severity(family: str, conditions: Sequence[ConditionMetrics]) -> list[ConditionMetrics]:
    return sorted(conditions, key=lambda condition: condition.level, reverse=family in MILD_IS_HIGH)


def _draw_panel(axes: Axes, clean: ConditionMetrics, conditions: Sequence[ConditionMetrics]) -> None:
    first = 1 if conditions[0].family == "crop margin" else 0  # one tighter, one wider: the clean crop lies between
    shown = [*conditions[:first], clean, *conditions[first:]]
    for attribute, _, colour, style in CURVES:
        points = [(x, getattr(condition, attribute)) for x, condition in enumerate(shown)]
        known: list[tuple[int, Estimate]] = [(x, estimate) for x, estimate in points if estimate is not None]
        if not known:
            continue
        xs = [x for x, _ in known]
        values, lows, highs = zip(*((e.value, e.low, e.high) for _, e in known), strict=True)
        axes.plot(xs, values, linestyle=style, color=colour, marker="o", markersize=4, linewidth=1.8)
        axes.fill_between(xs, lows, highs, color=colour, alpha=0.12, lw=0)
    axes.set(title=conditions[0].family, ylim=(-0.03, 1.03), xlim=(-0.3, len(shown) - 0.7))
    axes.set_xticks(range(len(shown)), ["clean" if each is clean else f"{each.level:g}" for each in shown])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="x", visible=False)
