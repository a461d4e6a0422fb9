"""Trials of a hyperparameter search -> PNG files: parallel coordinates, and the importance of each setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from deepfake_detector.plotting import NEUTRAL, REAL, save_plot

if TYPE_CHECKING:
    from deepfake_detector.training.tuning import TrialResult

COLOURS = colormaps["viridis_r"]  # the darker the better
MAX_TICKS = 6  # up to so many distinct values, an axis shows each of them, evenly spaced
LOG_RATIO = 30  # highest over lowest value above which an axis is logarithmic


def draw_search(
    folder: Path, trials: Sequence[TrialResult], importance: Mapping[str, float], objective: str
) -> list[Path]:
    """Draw `parallel_coordinates.png` and, unless `importance` is empty, `importance.png`.

    Args:
        folder: created if missing.
        trials: at least one with a value.
        importance: setting -> share of the variance it explains.
        objective: name of the value.

    Returns:
        The files written.
    """
    shown = [trial for trial in trials if trial.value is not None]
    names = sorted(shown[0].params)
    size = (2.2 + 1.5 * len(names), 5.0)
    files = [
        save_plot(folder / "parallel_coordinates.png", size, lambda axes: _parallel(axes, shown, names, objective))
    ]
    if importance:
        size, n = (7.5, 1.2 + 0.4 * len(importance)), sum(trial.state == "complete" for trial in trials)
        files.append(save_plot(folder / "importance.png", size, lambda axes: _bars(axes, importance, objective, n)))
    else:
        (folder / "importance.png").unlink(missing_ok=True)  # that of an earlier search would be wrong
    return files


def _parallel(axes: Axes, trials: Sequence[TrialResult], names: Sequence[str], objective: str) -> None:
    values = np.array([trial.value for trial in trials], np.float64)
    columns = [np.array([float(trial.params[name]) for trial in trials]) for name in names]
    heights = np.stack([_axis(axes, x, column) for x, column in enumerate([*columns, values])])
    shade = Normalize(values.min(), max(values.max(), values.min() + 1e-9))
    best = max((i for i, t in enumerate(trials) if t.state == "complete"), key=lambda i: values[i], default=None)
    for i in np.argsort(values):
        ended_early = trials[i].state != "complete"
        axes.plot(
            heights[:, i],
            color=NEUTRAL if ended_early else COLOURS(shade(values[i])),
            linestyle=":" if ended_early else "-",
            linewidth=3.5 if i == best else 1.3,
            alpha=0.7 if ended_early else 1.0,
        )
    axes.set_xticks(range(len(names) + 1), [name.replace("_", "\n") for name in [*names, objective]])
    axes.set(xlim=(-0.6, len(names) + 0.15), ylim=(-0.06, 1.06), yticks=[])
    axes.grid(visible=False)
    axes.figure.colorbar(ScalarMappable(shade, COLOURS), ax=axes, label=objective, pad=0.02)
    axes.set_title(_title(trials, best, objective), loc="left")


def _title(trials: Sequence[TrialResult], best: int | None, objective: str) -> str:
    pruned = sum(trial.state == "pruned" for trial in trials)
    title = f"{len(trials)} trials, {pruned} pruned (dotted)"
    if best is None:
        return title
    return f"{title}; best: trial {trials[best].number}, {objective} {trials[best].value:.4f} (thick)"


def _axis(axes: Axes, x: int, column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw one vertical axis with its ticks; return the heights (n,) of the values on it, 0 to 1."""
    distinct = np.unique(column)
    if len(distinct) <= MAX_TICKS:
        ticks, heights = distinct, np.searchsorted(distinct, column) / max(1, len(distinct) - 1)
        at = np.arange(len(distinct)) / max(1, len(distinct) - 1)
    else:
        logarithmic = distinct[0] > 0 and distinct[-1] / distinct[0] > LOG_RATIO
        scale = np.log(column) if logarithmic else column
        low, high = scale.min(), scale.max()
        at = np.linspace(0, 1, 5)
        ticks = low + at * (high - low)
        ticks = np.exp(ticks) if logarithmic else ticks
        heights = (scale - low) / (high - low)
    axes.axvline(x, color="black", linewidth=0.8, zorder=0)
    box = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8}
    for tick, height in zip(ticks, at, strict=True):
        axes.text(x - 0.04, float(height), f"{tick:.3g}", ha="right", va="center", fontsize=8, bbox=box, zorder=3)
    return np.asarray(heights, np.float64)


def _bars(axes: Axes, importance: Mapping[str, float], objective: str, complete: int) -> None:
    ordered = sorted(importance.items(), key=lambda item: item[1])
    bars = axes.barh([name for name, _ in ordered], [share for _, share in ordered], color=REAL)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, 1.1 * max(max(importance.values()), 1e-9)), xlabel=f"share of the variance of {objective}")
    axes.set_title(f"Importance of each setting (fANOVA over {complete} complete trials)", loc="left")
