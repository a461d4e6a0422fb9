"""Drawing functions -> PNG files of one style; the same drawing gives the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import NDArray

from deepfake_detector.io import atomic_write

REAL, FAKE, NEUTRAL, AMBER = "#2a7f9e", "#d1495b", "#5c6672", "#c77d0a"  # distinct for colour-blind readers, too
DPI = 140


def save_plot(path: Path, size: tuple[float, float], draw: Callable[[Axes], None]) -> Path:
    """Write a figure with one pair of axes.

    Args:
        path: of the PNG; its folder is created.
        size: width and height in inches.
        draw: called with the axes.
    """
    return save_subplots(path, size, (1, 1), lambda axes: draw(axes[0, 0]))


def save_subplots(
    path: Path, size: tuple[float, float], grid: tuple[int, int], draw: Callable[[NDArray[Any]], None], dpi: int = DPI
) -> Path:
    """Write a figure with rows and columns of axes.

    Args:
        path: of the PNG; its folder is created.
        size: width and height in inches.
        grid: rows and columns.
        draw: called with the axes (rows, columns).
        dpi: dots per inch.
    """
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook", font_scale=0.9):
        figure, axes = plt.subplots(*grid, figsize=size, layout="constrained", squeeze=False)
        try:
            draw(axes)
            with atomic_write(path) as temporary:  # without metadata: Matplotlib's version would change the bytes
                figure.savefig(temporary, dpi=dpi, format="png", metadata={"Software": None})
        finally:
            plt.close(figure)
    return path
