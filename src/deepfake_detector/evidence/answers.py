"""Crops, their logit maps and their scores -> the surest right and wrong answers, shown with their heatmaps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.evidence.estimate import Floats, Labels
from deepfake_detector.evidence.plate import FAKE, NEUTRAL, REAL, plates

COUNT = 10
COLUMNS = 5
PHOTO_DPI = 90  # photographs make large files, and crops hold no finer detail
FULL_HEAT_LOGIT = (
    8.0  # odds of 3000 to 1 before calibration: full colour; at less, most cells of sure answers look alike
)
HEAT = LinearSegmentedColormap.from_list("evidence", [REAL, "#f4f4f4", FAKE])


@dataclass(frozen=True, eq=False)
class Shown:
    """What is known of n crops; `maps` (n, h, w)."""

    crops: NDArray[np.uint8]
    maps: NDArray[np.float32]
    p_fake: Floats
    labels: Labels
    sources: list[str]


def surest(p_fake: Floats, labels: Labels, right: bool, count: int = COUNT) -> NDArray[np.int64]:
    """Row numbers of the surest right (or wrong) answers, half of each class where there are enough, surest first.

    Args:
        p_fake: (n,).
        labels: (n,).
        right: which.
        count: at most.
    """
    asked = np.flatnonzero(((p_fake >= 0.5) == (labels == 1)) == right)
    order = asked[np.argsort(-np.abs(p_fake[asked] - 0.5), kind="stable")]
    halves = [order[labels[order] == label] for label in (0, 1)]
    kept = [half[: max(count // 2, count - len(other))] for half, other in (halves, halves[::-1])]
    return np.concatenate(kept)[:count]


def draw_answers(path: Path, shown: Shown, rows: NDArray[np.int64], title: str) -> Path:
    """Each face above its heat: red speaks for a fake, blue against one.

    Args:
        path: of the PNG.
        shown: all crops.
        rows: which are drawn.
        title: above all.
    """
    lines = max(1, -(-len(rows) // COLUMNS))

    def draw(axes: NDArray[Any]) -> None:
        for axis in axes.flat:
            axis.set_axis_off()
        for place, row in enumerate(rows):
            line, column = divmod(place, COLUMNS)
            _pair(axes[2 * line, column], axes[2 * line + 1, column], shown, int(row))
        text = title if len(rows) else f"{title}: there are none"
        axes.flat[0].figure.suptitle(text)

    return plates(path, (10.5, 0.5 + 4.4 * lines), (2 * lines, COLUMNS), draw, PHOTO_DPI)


def heated(crop: NDArray[np.uint8], logit_map: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The crop in grey under its heat, uint8 (side, side, 3); a map of one cell colours all of it alike."""
    size = (crop.shape[1], crop.shape[0])
    wide = Image.fromarray(logit_map.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    smooth = np.clip(np.asarray(wide) / FULL_HEAT_LOGIT, -1, 1)
    colour = HEAT((smooth + 1) / 2)[..., :3]
    grey = np.asarray(Image.fromarray(crop).convert("L"))[..., None] / 255
    weight = 0.65 * np.abs(smooth)[..., None]
    return np.asarray(np.rint(255 * (grey * (1 - weight) + colour * weight)), np.uint8)


def _pair(above: Axes, below: Axes, shown: Shown, row: int) -> None:
    fake = shown.labels[row] == 1
    above.imshow(shown.crops[row])
    below.imshow(heated(shown.crops[row], shown.maps[row]))
    above.set_title(f"{'fake' if fake else 'real'}; p_fake {shown.p_fake[row]:.3f}", fontsize=10,
                    color=FAKE if fake else REAL, pad=3)  # fmt: skip
    below.text(0.5, -0.03, shown.sources[row], transform=below.transAxes, ha="center", va="top", fontsize=8,
               color=NEUTRAL)  # fmt: skip
