"""Probes of the data -> one PNG: how far each shortcut alone goes, its interval, and where the alarm is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from deepfake_detector.io import atomic_write

CALM, WARN, STOP, NEUTRAL = "#2a7f9e", "#c77d0a", "#d1495b", "#5c6672"  # told apart by the colour-blind too
NAME = "probes.png"


class Probe(Protocol):
    """What is drawn of a probe; `data.leaks.Probe` has it. This folder knows nothing of `data`."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def auc(self) -> float | None: ...  # noqa: D102
    @property
    def low(self) -> float | None: ...  # noqa: D102
    @property
    def high(self) -> float | None: ...  # noqa: D102
    @property
    def threshold(self) -> float | None: ...  # noqa: D102
    @property
    def severity(self) -> Literal["stop", "warn"]: ...  # noqa: D102
    @property
    def passed(self) -> bool: ...  # noqa: D102
    @property
    def images(self) -> int: ...  # noqa: D102


def draw_probes(folder: Path, probes: Sequence[Probe]) -> Path:
    """Draw `probes.png` into `folder`, one line per probe, the first on top.

    Args:
        folder: made if it is not there.
        probes: measured or not.

    Returns:
        The picture's path.
    """
    figure, axes = plt.subplots(figsize=(9.5, 1.9 + 0.5 * max(1, len(probes))), layout="constrained")
    try:
        for row, probe in enumerate(probes):
            _row(axes, row, probe)
        _frame(axes, probes)
        figure.legend(handles=_legend(probes), loc="outside lower center", ncols=3, frameon=False)
        with atomic_write(folder / NAME) as temporary:
            figure.savefig(temporary, dpi=120, format="png", metadata={"Software": ""})
        return folder / NAME
    finally:
        plt.close(figure)


def _row(axes: Axes, row: int, probe: Probe) -> None:
    """Threshold with the alarm's range behind it, interval, figure at the right."""
    if probe.threshold is not None:
        alarm = STOP if probe.severity == "stop" else WARN
        reach = max(0.0, 1 - probe.threshold)
        axes.add_patch(Rectangle((probe.threshold, row - 0.36), reach, 0.72, color=alarm, alpha=0.13, linewidth=0))
        axes.plot([probe.threshold] * 2, [row - 0.36, row + 0.36], color=alarm, linewidth=1.6)
    if probe.auc is None or probe.low is None or probe.high is None:
        axes.text(1.015, row, "not measured", va="center", color=NEUTRAL, style="italic")
        return
    colour = _colour(probe)
    axes.plot([probe.low, probe.high], [row, row], color=colour, linewidth=5, alpha=0.45, solid_capstyle="butt")
    axes.plot(probe.auc, row, "o" if probe.passed else "D", color=colour, markersize=7)
    told = f"{probe.auc:.3f} [{probe.low:.3f}, {probe.high:.3f}]"
    axes.text(1.015, row, told, va="center", color=colour, weight="normal" if probe.passed else "bold")


def _colour(probe: Probe) -> str:
    if probe.passed:
        return CALM
    return STOP if probe.severity == "stop" else WARN


def _frame(axes: Axes, probes: Sequence[Probe]) -> None:
    lowest = min([probe.low for probe in probes if probe.low is not None], default=0.5)
    left = min(0.45, lowest - 0.03)
    axes.axvline(0.5, color=NEUTRAL, linestyle=":", linewidth=1.2, zorder=0)
    axes.set(
        xlim=(left, 1.0), ylim=(max(1, len(probes)) - 0.5, -0.5),
        xlabel="AUC of the shortcut alone (0.5: guessing, 1.0: it gives every picture away)",
    )  # fmt: skip
    axes.set_yticks(range(len(probes)), [f"{probe.name}, {probe.images:,} pictures" for probe in probes])
    axes.set_title("What tells real from fake without looking for traces of a fake", loc="left")
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _legend(probes: Sequence[Probe]) -> list[Line2D | Rectangle]:
    """Only what the picture shows."""
    shown: list[Line2D | Rectangle] = []
    if any(probe.passed and probe.auc is not None for probe in probes):
        calm = "passed, with 95 % interval"
        shown.append(Line2D([], [], color=CALM, marker="o", linewidth=5, alpha=0.7, label=calm))
    for colour, severity in ((STOP, "stop"), (WARN, "warn")):
        if any(not probe.passed and probe.severity == severity for probe in probes):
            shown.append(Line2D([], [], color=colour, marker="D", linewidth=5, alpha=0.7, label=f"alarm: {severity}"))
        if any(probe.threshold is not None and probe.severity == severity for probe in probes):
            shown.append(
                Rectangle((0, 0), 1, 1, color=colour, alpha=0.25, label=f"{severity} if all of the interval lies here")
            )
    return shown
