"""Trials of a search -> PNG pictures: parallel coordinates of all trials, and how much each setting matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from deepfake_detector.plotting import NEUTRAL, REAL, plate

COLOURS = colormaps["viridis_r"]  # the darker the better
FEW = 6  # values up to which an axis shows each of them, evenly spaced
SPREAD = 30  # highest over lowest value from which an axis is logarithmic


class Trial(Protocol):
    """What is drawn of a trial; `model.search.Tried` has it."""

    @property
    def number(self) -> int: ...  # noqa: D102
    @property
    def state(self) -> str: ...  # noqa: D102
    @property
    def value(self) -> float | None: ...  # noqa: D102
    @property
    def params(self) -> Mapping[str, float | int]: ...  # noqa: D102


def draw_search(folder: Path, trials: Sequence[Trial], importance: Mapping[str, float], measure: str) -> list[Path]:
    """Draw `parallel_coordinates.png` and, when there is any importance, `importance.png`.

    Args:
        folder: made if it is not there.
        trials: at least one with a value.
        importance: setting -> share of the variance it explains.
        measure: name of the value.
    """
    shown = [trial for trial in trials if trial.value is not None]
    names = sorted(shown[0].params)
    size = (2.2 + 1.5 * len(names), 5.0)
    drawn = [plate(folder / "parallel_coordinates.png", size, lambda axes: _parallel(axes, shown, names, measure))]
    if importance:
        size, n = (7.5, 1.2 + 0.4 * len(importance)), sum(trial.state == "finished" for trial in trials)
        drawn.append(plate(folder / "importance.png", size, lambda axes: _bars(axes, importance, measure, n)))
    else:
        (folder / "importance.png").unlink(missing_ok=True)  # one of an earlier search would tell a lie
    return drawn


def _parallel(axes: Axes, trials: Sequence[Trial], names: Sequence[str], measure: str) -> None:
    values = np.array([trial.value for trial in trials], np.float64)
    columns = [np.array([float(trial.params[name]) for trial in trials]) for name in names]
    heights = np.stack([_axis(axes, x, column) for x, column in enumerate([*columns, values])])
    shade = Normalize(values.min(), max(values.max(), values.min() + 1e-9))
    best = max((i for i, t in enumerate(trials) if t.state == "finished"), key=lambda i: values[i], default=None)
    for i in np.argsort(values):
        given_up = trials[i].state != "finished"
        axes.plot(
            heights[:, i],
            color=NEUTRAL if given_up else COLOURS(shade(values[i])),
            linestyle=":" if given_up else "-",
            linewidth=3.5 if i == best else 1.3,
            alpha=0.7 if given_up else 1.0,
        )
    axes.set_xticks(range(len(names) + 1), [name.replace("_", "\n") for name in [*names, measure]])
    axes.set(xlim=(-0.6, len(names) + 0.15), ylim=(-0.06, 1.06), yticks=[])
    axes.grid(visible=False)
    axes.figure.colorbar(ScalarMappable(shade, COLOURS), ax=axes, label=measure, pad=0.02)
    axes.set_title(_title(trials, best, measure), loc="left")


def _title(trials: Sequence[Trial], best: int | None, measure: str) -> str:
    given_up = sum(trial.state == "given up" for trial in trials)
    title = f"{len(trials)} trials, {given_up} given up early (dotted)"
    if best is None:
        return title
    return f"{title}; the best, trial {trials[best].number}, reached {measure} {trials[best].value:.4f} (thick)"


def _axis(axes: Axes, x: int, column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw one upright axis with its numbers; the heights (n,) of the values on it, 0 to 1."""
    distinct = np.unique(column)
    if len(distinct) <= FEW:
        ticks, heights = distinct, np.searchsorted(distinct, column) / max(1, len(distinct) - 1)
        at = np.arange(len(distinct)) / max(1, len(distinct) - 1)
    else:
        logarithmic = distinct[0] > 0 and distinct[-1] / distinct[0] > SPREAD
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


def _bars(axes: Axes, importance: Mapping[str, float], measure: str, finished: int) -> None:
    ordered = sorted(importance.items(), key=lambda item: item[1])
    bars = axes.barh([name for name, _ in ordered], [share for _, share in ordered], color=REAL)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.grid(visible=False, axis="y")
    axes.set(xlim=(0, 1.1 * max(max(importance.values()), 1e-9)), xlabel=f"share of the variance of {measure}")
    axes.set_title(f"How much each setting matters (fANOVA over {finished} finished trials)", loc="left")
