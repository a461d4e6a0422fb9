"""The drift of one model -> figures as PNG bytes: over time, and each distribution beside the reference's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from deepfake_detector.model.bundle_profile import QUANTITIES, Quantity
from deepfake_detector.monitoring.distances import Floats
from deepfake_detector.monitoring.drift import ModelDrift
from deepfake_detector.monitoring.expectations import NAMES
from deepfake_detector.monitoring.measurements import ALL_DAYS
from deepfake_detector.plotting import AMBER, FAKE, NEUTRAL, REAL, save_subplots

DPI = 100
MAX_TICKS = 8
LABELS: Mapping[Quantity, str] = {
    "p_fake": "p_fake",
    "largest_face_px": "side of the largest face, px",
    "brightness": "mean grey of the crop, 0..255",
    "contrast": "standard deviation of grey",
    "sharpness": "variance of the Laplacian",
}
_BINS = 30
_COLOURS = {"fake": FAKE, "real": REAL, "inconclusive": AMBER, "unscored": NEUTRAL}


def draw_figures(model: ModelDrift) -> dict[str, bytes]:
    """Name -> PNG: `answers`, `fake_share` and `distances` over the days; `quantities`: distributions and quartiles."""
    figures = {
        "answers": _png((9, 3.2), (1, 1), lambda axes: _draw_answers(axes[0, 0], model)),
        "distances": _png((9, 3.2), (1, 1), lambda axes: _draw_distances(axes[0, 0], model)),
        "quantities": _png((10, 12), (len(QUANTITIES), 2), lambda axes: _draw_quantities(axes, model)),
    }
    if model.measurements.shares:
        figures["fake_share"] = _png((9, 2.8), (1, 1), lambda axes: _draw_fake_share(axes[0, 0], model))
    return figures


def _png(size: tuple[float, float], grid: tuple[int, int], draw: Callable[[NDArray[Any]], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return save_subplots(Path(folder) / "figure.png", size, grid, draw, DPI).read_bytes()


def _draw_answers(axes: Axes, model: ModelDrift) -> None:
    table = model.daily_shares()
    for name, colour in _COLOURS.items():
        label = "without a scored face" if name == "unscored" else name
        value, low, high = (table[f"{name}{end}"].to_numpy(float) for end in ("", "_low", "_high"))
        _line_with_interval(axes, value, low, high, colour, label)
    axes.set(ylim=(0, 1), ylabel="share of the pictures", title="Answers per day, with 95 % intervals")
    _day_axis(axes, model.days)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _draw_fake_share(axes: Axes, model: ModelDrift) -> None:
    shares = model.measurements.shares
    by_day = shares if len(model.days) > 1 else dict.fromkeys(model.days, shares[ALL_DAYS])
    known = [(day, by_day[day]) for day in model.days if day in by_day]
    at = [model.days.index(day) for day, _ in known]
    values = np.array([each.value for _, each in known])
    errors = np.array([[each.value - each.low, each.high - each.value] for _, each in known]).reshape(-1, 2).T
    axes.errorbar(at, values, yerr=errors, fmt="o", color=FAKE, capsize=3, label="per day, with 95 % interval")
    if ALL_DAYS in shares:
        axes.axhspan(shares[ALL_DAYS].low, shares[ALL_DAYS].high, color=FAKE, alpha=0.15, label=ALL_DAYS)
    if model.reference.fake_share is not None:
        axes.axhline(model.reference.fake_share, color=NEUTRAL, linestyle="--", label="reference")
    axes.set(ylim=(0, 1), ylabel="share of fakes", title="Estimated share of fakes, if only that share changed")
    _day_axis(axes, model.days)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _draw_distances(axes: Axes, model: ModelDrift) -> None:
    table = model.measurements.table
    daily = table[(table["window"] != ALL_DAYS) | (len(model.days) == 1)]
    for number, (quantity, rows) in enumerate(daily.groupby("quantity", sort=False)):
        at = [0 if window == ALL_DAYS else model.days.index(window) for window in rows["window"]]
        ratio = rows["distance"] / rows["limit"]
        axes.plot(at, ratio, marker="o", markersize=4, color=f"C{number}", label=NAMES[quantity])  # type: ignore[index]
        drifted = [row in model.drifted_rows for row in rows.index]
        axes.scatter(np.array(at)[drifted], ratio[drifted], s=90, facecolors="none", edgecolors="black", zorder=3)
    axes.axhline(1.0, color=NEUTRAL, linestyle="--")
    axes.set(ylim=(0, None), ylabel="distance / limit", title="Distance from the reference (circles: drifted)")
    _day_axis(axes, model.days)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _draw_quantities(axes: NDArray[Any], model: ModelDrift) -> None:
    for row, quantity in enumerate(QUANTITIES):
        stream = model.answers[quantity].dropna().to_numpy(float)
        reference = model.reference.values[quantity]
        _draw_histograms(axes[row, 0], model, quantity, stream, reference)
        _draw_quartiles(axes[row, 1], model, quantity, reference)


def _draw_histograms(axes: Axes, model: ModelDrift, quantity: Quantity, stream: Floats, reference: Floats) -> None:
    pooled = np.concatenate([stream, reference])
    low, high = np.quantile(pooled, (0.005, 0.995)) if len(pooled) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    share = None if model.fake_share is None else model.fake_share.value
    drawn = (("stream", stream, None, FAKE), ("reference", reference, None, NEUTRAL))
    weighted = ("reference at the stream's share of fakes", reference, model.reference.weights(quantity, share), REAL)
    for label, values, weights, colour in drawn if share is None else (*drawn, weighted):
        counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges, weights=weights)[0]
        axes.stairs(counts / max(counts.sum(), 1e-12), edges, color=colour, label=label, linewidth=1.5)
    axes.set(xlabel=LABELS[quantity], ylabel="share")
    if quantity == QUANTITIES[0]:
        axes.legend(frameon=False, fontsize=8)


def _draw_quartiles(axes: Axes, model: ModelDrift, quantity: Quantity, reference: Floats) -> None:
    by_day = model.answers.groupby("day", sort=True)[quantity]
    low, middle, high = (by_day.quantile(level).to_numpy(float) for level in (0.25, 0.5, 0.75))
    _line_with_interval(axes, middle, low, high, FAKE, "stream")
    if len(reference):
        axes.axhspan(*np.quantile(reference, (0.25, 0.75)), color=NEUTRAL, alpha=0.15)
        axes.axhline(float(np.median(reference)), color=NEUTRAL, linestyle="--", label="reference")
    axes.set(ylabel="median and quartiles", xlabel=LABELS[quantity] + ", per day")
    _day_axis(axes, model.days)


def _line_with_interval(axes: Axes, values: Floats, low: Floats, high: Floats, colour: str, label: str) -> None:
    at = np.arange(len(values))
    if len(values) == 1:
        axes.errorbar(at, values, yerr=[values - low, high - values], fmt="o", color=colour, capsize=3, label=label)
        return
    axes.plot(at, values, color=colour, marker="o", markersize=3, label=label)
    axes.fill_between(at, low, high, color=colour, alpha=0.2)


def _day_axis(axes: Axes, days: Sequence[str]) -> None:
    step = max(1, -(-len(days) // MAX_TICKS))
    axes.set_xticks(range(0, len(days), step), [day[5:] for day in days[::step]])
    axes.set_xlim(-0.5, len(days) - 0.5)
