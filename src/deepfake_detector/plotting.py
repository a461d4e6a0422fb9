"""Functions that draw -> PNG files of one look, whose bytes depend on what is drawn and on nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import NDArray

from deepfake_detector.io import atomic_write

REAL, FAKE, NEUTRAL, AMBER = "#2a7f9e", "#d1495b", "#5c6672", "#c77d0a"  # told apart by the colour-blind too
DPI = 140


def plate(path: Path, size: tuple[float, float], draw: Callable[[Axes], None]) -> Path:
    """One picture with one pair of axes.

    Args:
        path: of the PNG; its folder is made.
        size: in inches, width and height.
        draw: onto the axes.
    """
    return plates(path, size, (1, 1), lambda axes: draw(axes[0, 0]))


def plates(
    path: Path, size: tuple[float, float], grid: tuple[int, int], draw: Callable[[NDArray[Any]], None], dpi: int = DPI
) -> Path:
    """One picture with rows and columns of axes.

    Args:
        path: of the PNG; its folder is made.
        size: in inches, width and height.
        grid: rows and columns.
        draw: onto the axes (rows, columns).
        dpi: dots per inch.
    """
    with sns.axes_style("whitegrid"), sns.plotting_context("notebook", font_scale=0.9):
        figure, axes = plt.subplots(*grid, figsize=size, layout="constrained", squeeze=False)
        try:
            draw(axes)
            # Without the version in the file, the same figures give the same bytes.
            with atomic_write(path) as temporary:
                figure.savefig(temporary, dpi=dpi, format="png", metadata={"Software": None})
        finally:
            plt.close(figure)
    return path
