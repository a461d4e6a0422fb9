"""Figures of an evaluation -> PNG pictures for people (Matplotlib, Seaborn)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_curve

from deepfake_detector.evaluation.metrics import Figures, calibration_error, reliability
from deepfake_detector.model.bundle import Thresholds
from deepfake_detector.plotting import AMBER, FAKE, NEUTRAL, REAL, plate, plates
from deepfake_detector.stats import Floats, Labels


def draw_all(
    folder: Path,
    p_fake: Floats,
    p_before: Floats,
    labels: Labels,
    history: pd.DataFrame,
    figures: Figures,
    thresholds: Thresholds,
    bins: int,
) -> list[Path]:
    """Draw the pictures of a test split into `folder`.

    Args:
        folder: made if it is not there.
        p_fake: (n,) of the test pictures.
        p_before: (n,) of the same, before calibration.
        labels: (n,), 1 = fake.
        history: one row per epoch.
        figures: what `measure` found for the same pictures.
        thresholds: drawn into the score histogram and the ROC.
        bins: of the reliability diagram.
    """
    drawings: dict[str, tuple[tuple[float, float], Callable[[Axes], None]]] = {
        "confusion_matrix": ((4.6, 4.2), lambda ax: _confusion(ax, figures)),
        "roc": ((5.0, 4.6), lambda ax: _roc(ax, p_fake, labels, figures, thresholds)),
        "calibration": ((5.0, 4.6), lambda ax: _calibration(ax, p_fake, p_before, labels, figures, bins)),
        "scores": ((7.4, 3.8), lambda ax: _scores(ax, p_fake, labels, thresholds)),
        "history": ((6.6, 3.8), lambda ax: _history(ax, history)),
    }
    return [plate(folder / f"{name}.png", size, draw) for name, (size, draw) in drawings.items()]


def _confusion(axes: Axes, figures: Figures) -> None:
    c = figures.confusion
    table = np.array([[c["true_real"], c["false_fake"]], [c["false_real"], c["true_fake"]]])
    share = table / np.maximum(1, table.sum(axis=1, keepdims=True))
    text = np.array([[f"{n}\n{s:.1%}" for n, s in zip(*rows, strict=True)] for rows in zip(table, share, strict=True)])
    sns.heatmap(
        share, annot=text, fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False, square=True, ax=axes,
        xticklabels=["real", "fake"], yticklabels=["real", "fake"], annot_kws={"fontsize": 13},
    )  # fmt: skip
    axes.set(xlabel="answer at p_fake = 0.5", ylabel="truth", title=f"{figures.images} test pictures")


def _roc(axes: Axes, p_fake: Floats, labels: Labels, figures: Figures, thresholds: Thresholds) -> None:
    false_positives, true_positives, _ = roc_curve(labels, p_fake)
    axes.plot(false_positives, true_positives, color=FAKE, linewidth=2, label=f"AUC {figures.auc}")
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", label="guessing")
    points = (("flag", "o", REAL), ("strict", "D", AMBER), ("clear", "s", NEUTRAL))
    for name, marker, colour in points:
        called = p_fake >= getattr(thresholds, name)
        at = (called[labels == 0].mean(), called[labels == 1].mean())
        axes.plot(*at, marker, color=colour, markersize=8, markeredgecolor="white", zorder=3,
                  label=f"{name}: {at[1]:.1%} of fakes, {at[0]:.1%} of real ones")  # fmt: skip
    axes.set(
        xlabel="real pictures called fake", ylabel="fakes found", title="ROC, with 95 % interval of the AUC",
        xlim=(-0.02, 1.01), ylim=(-0.01, 1.02), aspect="equal",
    )  # fmt: skip
    axes.legend(loc="lower right", fontsize="small")


def _calibration(axes: Axes, p_fake: Floats, p_before: Floats, labels: Labels, figures: Figures, bins: int) -> None:
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", label="perfectly calibrated")
    before = reliability(p_before, labels, bins)
    axes.plot(before[:, 0], before[:, 1], "--", color=NEUTRAL, marker="x", alpha=0.6,
              label=f"before: ECE {calibration_error(p_before, labels, bins):.3f}")  # fmt: skip
    table = reliability(p_fake, labels, bins)
    axes.plot(table[:, 0], table[:, 1], color=FAKE, alpha=0.4)
    area = 20 + 300 * table[:, 2] / table[:, 2].max()
    axes.scatter(table[:, 0], table[:, 1], s=area, color=FAKE, alpha=0.7,
                 label=f"after: ECE {figures.ece.value:.3f}; area = pictures")  # fmt: skip
    axes.set(
        xlabel="p_fake said by the detector", ylabel="share of fakes in truth", xlim=(-0.04, 1.04), ylim=(-0.04, 1.04),
        title="Calibration of the test pictures", aspect="equal",
    )  # fmt: skip
    axes.legend(loc="upper left", fontsize="small", markerscale=0.6)


def _scores(axes: Axes, p_fake: Floats, labels: Labels, thresholds: Thresholds) -> None:
    edges = np.linspace(0, 1, 41).tolist()
    for label, name, colour in ((0, "real", REAL), (1, "fake", FAKE)):
        axes.hist(p_fake[labels == label], edges, color=colour, alpha=0.65, label=name)
    if thresholds.clear < thresholds.flag:
        axes.axvspan(thresholds.clear, thresholds.flag, color=NEUTRAL, alpha=0.15, label="inconclusive")
    axes.axvline(thresholds.flag, color=NEUTRAL, linewidth=1.2, label=f"flag at {thresholds.flag:.2f}")
    axes.axvline(thresholds.strict, color=AMBER, linewidth=1.2, linestyle="--",
                 label=f"strict at {thresholds.strict:.2f}")  # fmt: skip
    axes.set(
        xlabel="p_fake", ylabel="pictures (log)", yscale="log", xlim=(0, 1),
        title="Where the scores of the test pictures lie",
    )  # fmt: skip
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _history(axes: Axes, history: pd.DataFrame) -> None:
    for column, style in (("accuracy", "--"), ("val_accuracy", "-"), ("val_auc", "-")):
        if column in history:
            name = {"accuracy": "training accuracy", "val_accuracy": "validation accuracy", "val_auc": "validation AUC"}
            colour = {"accuracy": NEUTRAL, "val_accuracy": FAKE, "val_auc": REAL}[column]
            axes.plot(
                history["epoch"], history[column], style, color=colour, marker="o", markersize=3, label=name[column]
            )
    axes.set(xlabel="epoch", title="Training", ylim=(None, 1.005))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="lower right")


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
