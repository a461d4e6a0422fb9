"""Leak probes -> one PNG: the AUC of each shortcut with its interval and its threshold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from deepfake_detector.io import atomic_write
from deepfake_detector.validation.leak_probes import LeakProbe

PASSED, WARNED, STOPPED, NEUTRAL = "#2a7f9e", "#c77d0a", "#d1495b", "#5c6672"  # distinct for the colour-blind, too
FIGURE_NAME = "probes.png"


def draw_leak_probes(folder: Path, probes: Sequence[LeakProbe]) -> Path:
    """Draw `probes.png` into `folder`, one line per probe, the first on top.

    Args:
        folder: created if it is missing.
        probes: measured or not.

    Returns:
        The path of the figure.
    """
    figure, axes = plt.subplots(figsize=(9.5, 1.9 + 0.5 * max(1, len(probes))), layout="constrained")
    try:
        for row, probe in enumerate(probes):
            _draw_probe(axes, row, probe)
        _label_axes(axes, probes)
        figure.legend(handles=_legend(probes), loc="outside lower center", ncols=3, frameon=False)
        with atomic_write(folder / FIGURE_NAME) as temporary:
            figure.savefig(temporary, dpi=120, format="png", metadata={"Software": ""})
        return folder / FIGURE_NAME
    finally:
        plt.close(figure)


def _draw_probe(axes: Axes, row: int, probe: LeakProbe) -> None:
    """The threshold and the range above it, the interval, and the value at the right."""
    if probe.threshold is not None:
        colour = STOPPED if probe.severity == "stop" else WARNED
        width = max(0.0, 1 - probe.threshold)
        axes.add_patch(Rectangle((probe.threshold, row - 0.36), width, 0.72, color=colour, alpha=0.13, linewidth=0))
        axes.plot([probe.threshold] * 2, [row - 0.36, row + 0.36], color=colour, linewidth=1.6)
    if probe.auc is None or probe.low is None or probe.high is None:
        axes.text(1.015, row, "not measured", va="center", color=NEUTRAL, style="italic")
        return
    colour = _colour(probe)
    axes.plot([probe.low, probe.high], [row, row], color=colour, linewidth=5, alpha=0.45, solid_capstyle="butt")
    axes.plot(probe.auc, row, "o" if probe.passed else "D", color=colour, markersize=7)
    text = f"{probe.auc:.3f} [{probe.low:.3f}, {probe.high:.3f}]"
    axes.text(1.015, row, text, va="center", color=colour, weight="normal" if probe.passed else "bold")


def _colour(probe: LeakProbe) -> str:
    if probe.passed:
        return PASSED
    return STOPPED if probe.severity == "stop" else WARNED


def _label_axes(axes: Axes, probes: Sequence[LeakProbe]) -> None:
    lowest = min([probe.low for probe in probes if probe.low is not None], default=0.5)
    left = min(0.45, lowest - 0.03)
    axes.axvline(0.5, color=NEUTRAL, linestyle=":", linewidth=1.2, zorder=0)
    axes.set(
        xlim=(left, 1.0), ylim=(max(1, len(probes)) - 0.5, -0.5),
        xlabel="AUC of the shortcut alone (0.5: no information, 1.0: it reveals the class of every picture)",
    )  # fmt: skip
    axes.set_yticks(range(len(probes)), [f"{probe.name}, {probe.images:,} pictures" for probe in probes])
    axes.set_title("How well shortcuts separate real from fake", loc="left")
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _legend(probes: Sequence[LeakProbe]) -> list[Line2D | Rectangle]:
    """Only what the figure shows."""
    handles: list[Line2D | Rectangle] = []
    if any(probe.passed and probe.auc is not None for probe in probes):
        handles.append(_marker(PASSED, "o", "passed, with 95 % interval"))
    for colour, severity in ((STOPPED, "stop"), (WARNED, "warn")):
        if any(not probe.passed and probe.severity == severity for probe in probes):
            handles.append(_marker(colour, "D", f"failed: {severity}"))
        if any(probe.threshold is not None and probe.severity == severity for probe in probes):
            label = f"{severity} if the whole interval lies here"
            handles.append(Rectangle((0, 0), 1, 1, color=colour, alpha=0.25, label=label))
    return handles


def _marker(colour: str, marker: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linewidth=5, alpha=0.7, label=label)
