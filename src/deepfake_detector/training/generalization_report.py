"""Results of leaving out each family -> reports/generalize/: a table as CSV and Markdown, and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_detector.config import Train
from deepfake_detector.io import atomic_write
from deepfake_detector.plotting import FAKE, NEUTRAL, REAL, save_plot
from deepfake_detector.stats import Estimate
from deepfake_detector.training.generalization import VIEWS, FoldResult, mean_auc_of_families

COLOURS = {VIEWS[0]: REAL, VIEWS[1]: FAKE}


def write_generalization_report(folder: Path, results: Sequence[FoldResult], folds: int, train: Train) -> str:
    """Write results.csv, results.md and generalize.png.

    Args:
        folder: created if missing.
        results: of the folds that have ended.
        folds: how many there will be.
        train: settings of the trainings.

    Returns:
        The Markdown page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = generalization_page(results, folds, train)
    with atomic_write(folder / "results.csv") as temporary:
        pd.DataFrame([_row(result) for result in results]).to_csv(temporary, index=False)
    with atomic_write(folder / "results.md") as temporary:
        temporary.write_text(page, encoding="utf-8")
    draw_generalization(folder / "generalize.png", results)
    return page


def generalization_page(results: Sequence[FoldResult], folds: int, train: Train) -> str:
    """The table in Markdown."""
    done = f"{len(results)} of {folds} families" if len(results) < folds else f"{folds} families"
    steps = f" of {train.steps_per_epoch} steps" if train.steps_per_epoch else ""
    lines = [
        "# Each family of sources left out of training in turn",
        "",
        f"Written by `python -m pipelines.generalize`: {done}; `{train.network}`, {train.epochs} epochs{steps},"
        f" sampling {train.sampling}, seed {train.seed}. Scores are those of the family's validation crops by a model "
        "that was not trained on it. AUC with its 95 % interval (DeLong); a family of one class is compared with the "
        "other class of all other sources. Threshold: the share of false positives of "
        "`evaluate.flag_false_positive_rate` on the validation crops of the other sources.",
        "",
        "| family left out | real, fake | AUC | AUC, corrupted | reals above | fakes above | AUC of the others |",
        "|---" * 7 + "|",
    ]
    lines += [
        f"| {result.fold.family} ({', '.join(result.fold.sources)}) | {result.reals}, {result.fakes} | "
        f"{_cell(result.auc[VIEWS[0]])} | {_cell(result.auc[VIEWS[1]])} | {_cell(result.false_positive_rate)} | "
        f"{_cell(result.true_positive_rate)} | {_cell(result.trained_auc)} |"
        for result in results
    ]
    means = [mean_auc_of_families(list(results), view) for view in VIEWS]
    cells = ["" if mean is None else f"**{mean:.3f}**" for mean in means]
    lines.append(f"| **mean of the families with fakes** | | {cells[0]} | {cells[1]} | | | |")
    return "\n".join(lines) + "\n"


def draw_generalization(path: Path, results: Sequence[FoldResult]) -> Path:
    """Draw the AUC of each family, unchanged and corrupted, with intervals."""

    def draw(axes: Any) -> None:
        for number, view in enumerate(VIEWS):
            known = [(y, area) for y, result in enumerate(results) if (area := result.auc[view]) is not None]
            for y, area in known:
                height = y + 0.16 * (2 * number - 1)
                axes.plot([area.low, area.high], [height, height], color=COLOURS[view], linewidth=4, alpha=0.4,
                          solid_capstyle="butt")  # fmt: skip
                axes.plot(area.value, height, "o", color=COLOURS[view], label=view if y == known[0][0] else None)
        axes.axvline(0.5, color=NEUTRAL, linestyle=":", linewidth=1.2)
        axes.set_yticks(range(len(results)), [_label(result) for result in results])
        axes.set(ylim=(len(results) - 0.4, -0.6), xlim=(None, 1.005), xlabel="AUC of the family (0.5: chance)")
        axes.set_title("Validation crops of a family that was not trained on", loc="left")
        axes.legend(loc="best", fontsize="small")

    return save_plot(path, (8.4, 1.8 + 0.55 * max(1, len(results))), draw)


def _label(result: FoldResult) -> str:
    return f"{result.fold.family}\n{result.reals} real, {result.fakes} fake"


def _cell(value: Estimate | None) -> str:
    return "" if value is None else str(value)


def _row(result: FoldResult) -> dict[str, Any]:
    row: dict[str, Any] = {
        "family": result.fold.family,
        "sources": " ".join(result.fold.sources),
        "reals": result.reals,
        "fakes": result.fakes,
    }
    named = {f"auc_{view}": result.auc[view] for view in VIEWS}
    named |= {"false_positive_rate": result.false_positive_rate, "true_positive_rate": result.true_positive_rate,
              "trained_auc": result.trained_auc}  # fmt: skip
    for name, value in named.items():
        row |= {name: None if value is None else value.value}
        row |= {f"{name}_{end}": None if value is None else getattr(value, end) for end in ("low", "high")}
    return row
