"""Metrics and scores of the test split -> PNG figures (Matplotlib, Seaborn)."""

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

from deepfake_detector.evaluation.metrics import ClassificationMetrics, calibration_error, reliability_curve
from deepfake_detector.model.bundle import Thresholds
from deepfake_detector.plotting import AMBER, FAKE, NEUTRAL, REAL, save_plot, save_subplots
from deepfake_detector.stats import Floats, Labels

EXAMPLES = 10
COLUMNS = 5
PHOTO_DPI = 90  # photographs make large files, and crops hold no finer detail
# Full colour at odds of 3000 to 1 before calibration: with less, most cells of confident predictions look alike.
FULL_COLOUR_LOGIT = 8.0
EVIDENCE = LinearSegmentedColormap.from_list("evidence", [REAL, "#f4f4f4", FAKE])


def draw_figures(
    folder: Path,
    p_fake: Floats,
    uncalibrated: Floats,
    labels: Labels,
    history: pd.DataFrame,
    metrics: ClassificationMetrics,
    thresholds: Thresholds,
    bins: int,
) -> list[Path]:
    """Draw confusion matrix, ROC, calibration, scores and training history into `folder`.

    Args:
        folder: created if missing.
        p_fake: (n,) of the test pictures.
        uncalibrated: (n,) of the same, before calibration.
        labels: (n,), 1 = fake.
        history: one row per epoch.
        metrics: of the same pictures.
        thresholds: drawn into the score histogram and the ROC.
        bins: of the reliability diagram.
    """
    figures: dict[str, tuple[tuple[float, float], Callable[[Axes], None]]] = {
        "confusion_matrix": ((4.6, 4.2), lambda ax: _draw_confusion(ax, metrics)),
        "roc": ((5.0, 4.6), lambda ax: _draw_roc(ax, p_fake, labels, metrics, thresholds)),
        "calibration": ((5.0, 4.6), lambda ax: _draw_calibration(ax, p_fake, uncalibrated, labels, metrics, bins)),
        "scores": ((7.4, 3.8), lambda ax: _draw_scores(ax, p_fake, labels, thresholds)),
        "history": ((6.6, 3.8), lambda ax: _draw_history(ax, history)),
    }
    return [save_plot(folder / f"{name}.png", size, draw) for name, (size, draw) in figures.items()]


def _draw_confusion(axes: Axes, metrics: ClassificationMetrics) -> None:
    counts = metrics.confusion
    table = np.array([
        [counts["true_negatives"], counts["false_positives"]], [counts["false_negatives"], counts["true_positives"]],
    ])  # fmt: skip
    share = table / np.maximum(1, table.sum(axis=1, keepdims=True))
    text = np.array([[f"{n}\n{s:.1%}" for n, s in zip(*rows, strict=True)] for rows in zip(table, share, strict=True)])
    sns.heatmap(
        share, annot=text, fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False, square=True, ax=axes,
        xticklabels=["real", "fake"], yticklabels=["real", "fake"], annot_kws={"fontsize": 13},
    )  # fmt: skip
    axes.set(xlabel="predicted at p_fake = 0.5", ylabel="actual", title=f"{metrics.images} test pictures")


def _draw_roc(
    axes: Axes, p_fake: Floats, labels: Labels, metrics: ClassificationMetrics, thresholds: Thresholds
) -> None:
    false_positive_rate, true_positive_rate, _ = roc_curve(labels, p_fake)
    axes.plot(false_positive_rate, true_positive_rate, color=FAKE, linewidth=2, label=f"AUC {metrics.auc}")
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", label="chance")
    for name, marker, colour in (("flag", "o", REAL), ("strict", "D", AMBER), ("clear", "s", NEUTRAL)):
        above = p_fake >= getattr(thresholds, name)
        point = (above[labels == 0].mean(), above[labels == 1].mean())
        axes.plot(*point, marker, color=colour, markersize=8, markeredgecolor="white", zorder=3,
                  label=f"{name}: TPR {point[1]:.1%}, FPR {point[0]:.1%}")  # fmt: skip
    axes.set(
        xlabel="false positive rate", ylabel="true positive rate", title="ROC, with 95 % interval of the AUC",
        xlim=(-0.02, 1.01), ylim=(-0.01, 1.02), aspect="equal",
    )  # fmt: skip
    axes.legend(loc="lower right", fontsize="small")


def _draw_calibration(
    axes: Axes, p_fake: Floats, uncalibrated: Floats, labels: Labels, metrics: ClassificationMetrics, bins: int
) -> None:
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", label="perfectly calibrated")
    before = reliability_curve(uncalibrated, labels, bins)
    axes.plot(before[:, 0], before[:, 1], "--", color=NEUTRAL, marker="x", alpha=0.6,
              label=f"before: ECE {calibration_error(uncalibrated, labels, bins):.3f}")  # fmt: skip
    after = reliability_curve(p_fake, labels, bins)
    axes.plot(after[:, 0], after[:, 1], color=FAKE, alpha=0.4)
    area = 20 + 300 * after[:, 2] / after[:, 2].max()
    axes.scatter(after[:, 0], after[:, 1], s=area, color=FAKE, alpha=0.7,
                 label=f"after: ECE {metrics.ece.value:.3f}; area = pictures")  # fmt: skip
    axes.set(
        xlabel="mean p_fake", ylabel="share of fakes", xlim=(-0.04, 1.04), ylim=(-0.04, 1.04),
        title="Calibration on the test split", aspect="equal",
    )  # fmt: skip
    axes.legend(loc="upper left", fontsize="small", markerscale=0.6)


def _draw_scores(axes: Axes, p_fake: Floats, labels: Labels, thresholds: Thresholds) -> None:
    edges = np.linspace(0, 1, 41).tolist()
    for label, name, colour in ((0, "real", REAL), (1, "fake", FAKE)):
        axes.hist(p_fake[labels == label], edges, color=colour, alpha=0.65, label=name)
    if thresholds.clear < thresholds.flag:
        axes.axvspan(thresholds.clear, thresholds.flag, color=NEUTRAL, alpha=0.15, label="inconclusive")
    axes.axvline(thresholds.flag, color=NEUTRAL, linewidth=1.2, label=f"flag at {thresholds.flag:.2f}")
    axes.axvline(thresholds.strict, color=AMBER, linewidth=1.2, linestyle="--",
                 label=f"strict at {thresholds.strict:.2f}")  # fmt: skip
    axes.set(
        xlabel="p_fake", ylabel="pictures (log)", yscale="log", xlim=(0, 1), title="Scores of the test pictures"
    )  # fmt: skip
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _draw_history(axes: Axes, history: pd.DataFrame) -> None:
    lines = (("accuracy", "--", NEUTRAL, "training accuracy"), ("val_accuracy", "-", FAKE, "validation accuracy"),
             ("val_auc", "-", REAL, "validation AUC"))  # fmt: skip
    for column, style, colour, label in lines:
        if column in history:
            axes.plot(
                history["epoch"], history[column], style, color=colour, marker="o", markersize=3, label=label
            )  # fmt: skip
    axes.set(xlabel="epoch", title="Training", ylim=(None, 1.005))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="best")


@dataclass(frozen=True, eq=False)
class ExampleCrops:
    """n scored crops; `maps` (n, h, w)."""

    crops: NDArray[np.uint8]
    maps: NDArray[np.float32]
    p_fake: Floats
    labels: Labels
    sources: list[str]


def most_confident(p_fake: Floats, labels: Labels, correct: bool, count: int = EXAMPLES) -> NDArray[np.int64]:
    """Row numbers of the most confident correct (or wrong) predictions, half of each class where there are enough.

    Args:
        p_fake: (n,).
        labels: (n,).
        correct: which.
        count: at most.
    """
    rows = np.flatnonzero(((p_fake >= 0.5) == (labels == 1)) == correct)
    order = rows[np.argsort(-np.abs(p_fake[rows] - 0.5), kind="stable")]
    halves = [order[labels[order] == label] for label in (0, 1)]
    kept = [half[: max(count // 2, count - len(other))] for half, other in (halves, halves[::-1])]
    return np.concatenate(kept)[:count]


def draw_examples(path: Path, examples: ExampleCrops, rows: NDArray[np.int64], title: str) -> Path:
    """Each face above its heatmap: red is evidence for a fake, blue against one.

    Args:
        path: of the PNG.
        examples: all crops.
        rows: which are drawn.
        title: of the figure.
    """
    lines = max(1, -(-len(rows) // COLUMNS))

    def draw(axes: NDArray[Any]) -> None:
        for axis in axes.flat:
            axis.set_axis_off()
        for i, row in enumerate(rows):
            line, column = divmod(i, COLUMNS)
            _draw_example(axes[2 * line, column], axes[2 * line + 1, column], examples, int(row))
        axes.flat[0].figure.suptitle(title if len(rows) else f"{title}: none")

    return save_subplots(path, (10.5, 0.5 + 4.4 * lines), (2 * lines, COLUMNS), draw, PHOTO_DPI)


def heatmap_overlay(crop: NDArray[np.uint8], logit_map: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The crop in grey under its heatmap, uint8 (side, side, 3); a map of one cell colours it uniformly."""
    size = (crop.shape[1], crop.shape[0])
    resized = Image.fromarray(logit_map.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    evidence = np.clip(np.asarray(resized) / FULL_COLOUR_LOGIT, -1, 1)
    colour = EVIDENCE((evidence + 1) / 2)[..., :3]
    grey = np.asarray(Image.fromarray(crop).convert("L"))[..., None] / 255
    weight = 0.65 * np.abs(evidence)[..., None]
    return np.asarray(np.rint(255 * (grey * (1 - weight) + colour * weight)), np.uint8)


def _draw_example(above: Axes, below: Axes, examples: ExampleCrops, row: int) -> None:
    fake = examples.labels[row] == 1
    above.imshow(examples.crops[row])
    below.imshow(heatmap_overlay(examples.crops[row], examples.maps[row]))
    above.set_title(f"{'fake' if fake else 'real'}; p_fake {examples.p_fake[row]:.3f}", fontsize=10,
                    color=FAKE if fake else REAL, pad=3)  # fmt: skip
    below.text(0.5, -0.03, examples.sources[row], transform=below.transAxes, ha="center", va="top", fontsize=8,
               color=NEUTRAL)  # fmt: skip
