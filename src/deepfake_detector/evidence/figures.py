"""Figures of an evaluation -> PNG pictures for people (Matplotlib, Seaborn)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from deepfake_detector.evidence.metrics import Figures, reliability
from deepfake_detector.model.bundle import Thresholds

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
REAL, FAKE, NEUTRAL = "#2a7f9e", "#d1495b", "#5c6672"  # told apart by the colour-blind too


def draw_all(
    folder: Path,
    p_fake: Floats,
    labels: Labels,
    history: pd.DataFrame,
    figures: Figures,
    thresholds: Thresholds,
    bins: int,
) -> list[Path]:
    """Draw every picture of an evaluation into `folder`.

    Args:
        folder: made if it is not there.
        p_fake: (n,) of the test pictures.
        labels: (n,), 1 = fake.
        history: one row per epoch.
        figures: what `measure` found for the same pictures.
        thresholds: drawn into the score histogram.
        bins: of the reliability diagram.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, tuple[tuple[float, float], Callable[[Axes], None]]] = {
        "confusion_matrix": ((4.6, 4.2), lambda ax: _confusion(ax, figures)),
        "roc": ((5.0, 4.6), lambda ax: _roc(ax, p_fake, labels, figures)),
        "calibration": ((5.0, 4.6), lambda ax: _calibration(ax, p_fake, labels, figures, bins)),
        "scores": ((7.4, 3.8), lambda ax: _scores(ax, p_fake, labels, thresholds)),
        "history": ((6.6, 3.8), lambda ax: _history(ax, history)),
    }
    sns.set_theme(style="whitegrid", context="notebook", font_scale=0.9)
    return [_save(folder / f"{name}.png", size, draw) for name, (size, draw) in drawings.items()]


def _save(path: Path, size: tuple[float, float], draw: Callable[[Axes], None]) -> Path:
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    draw(axes)
    # Without the version in the file, the same figures give the same bytes.
    figure.savefig(path, dpi=140, metadata={"Software": None})
    plt.close(figure)
    return path


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


def _roc(axes: Axes, p_fake: Floats, labels: Labels, figures: Figures) -> None:
    false_positives, true_positives, _ = roc_curve(labels, p_fake)
    axes.plot(false_positives, true_positives, color=FAKE, linewidth=2, label=f"AUC {figures.auc}")
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", label="guessing")
    axes.set(
        xlabel="real pictures called fake", ylabel="fakes found", title="ROC, with 95 % interval of the AUC",
        xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal",
    )  # fmt: skip
    axes.legend(loc="lower right")


def _calibration(axes: Axes, p_fake: Floats, labels: Labels, figures: Figures, bins: int) -> None:
    table = reliability(p_fake, labels, bins)
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", label="perfectly calibrated")
    axes.plot(table[:, 0], table[:, 1], color=FAKE, alpha=0.4)
    area = 20 + 300 * table[:, 2] / table[:, 2].max()
    axes.scatter(table[:, 0], table[:, 1], s=area, color=FAKE, alpha=0.7, label="one bin; area = pictures in it")
    axes.set(
        xlabel="p_fake said by the detector", ylabel="share of fakes in truth", xlim=(-0.04, 1.04), ylim=(-0.04, 1.04),
        title=f"Calibration: ECE {figures.ece:.3f}, Brier {figures.brier:.3f}", aspect="equal",
    )  # fmt: skip
    axes.legend(loc="upper left")


def _scores(axes: Axes, p_fake: Floats, labels: Labels, thresholds: Thresholds) -> None:
    edges = np.linspace(0, 1, 41).tolist()
    for label, name, colour in ((0, "real", REAL), (1, "fake", FAKE)):
        axes.hist(p_fake[labels == label], edges, color=colour, alpha=0.65, label=name)
    if thresholds.clear < thresholds.flag:
        axes.axvspan(thresholds.clear, thresholds.flag, color=NEUTRAL, alpha=0.15, label="inconclusive")
    axes.axvline(thresholds.flag, color=NEUTRAL, linewidth=1.2, label=f"flag at {thresholds.flag:.2f}")
    axes.set(
        xlabel="p_fake",
        ylabel="pictures (log)",
        yscale="log",
        xlim=(0, 1),
        title="Where the scores of the test pictures lie",
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _history(axes: Axes, history: pd.DataFrame) -> None:
    for column, style in (("accuracy", "--"), ("val_accuracy", "-"), ("val_auc", "-")):
        if column in history:
            name = {"accuracy": "training accuracy", "val_accuracy": "validation accuracy", "val_auc": "validation AUC"}
            colour = {"accuracy": NEUTRAL, "val_accuracy": FAKE, "val_auc": REAL}[column]
            axes.plot(
                history["epoch"], history[column], style, color=colour, marker="o", markersize=3, label=name[column]
            )
    axes.set(xlabel="epoch", ylabel="share", title="Training", ylim=(None, 1.005))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right")
