"""Metrics by source -> a PNG: of 100 pictures or videos of each kind, how many are answered rightly, wrongly or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from deepfake_detector.evaluation.labelled_videos import VideoMetrics
from deepfake_detector.evaluation.results import EvaluationResults
from deepfake_detector.evaluation.source_metrics import SourceMetrics
from deepfake_detector.plotting import FAKE, NEUTRAL, REAL, save_subplots
from deepfake_detector.stats import Estimate, estimate_proportion

NOT_ANSWERED = "#d9dce1"
MIN_LABELLED = 0.05  # a narrower part of a bar has no number
BAR_HEIGHT = 0.72


@dataclass(frozen=True)
class CoverageRow:
    """One bar: shares of the pictures or videos of one class of one source."""

    label: str
    right: float
    wrong: float
    accuracy: Estimate | None  # of the answered ones
    left_out: bool

    @property
    def unanswered(self) -> float:
        """Share that is "inconclusive"."""
        return max(0.0, 1 - self.right - self.wrong)


def coverage_rows(results: EvaluationResults) -> list[CoverageRow]:
    """A row per class of each source, reals first; then the same of the labelled videos."""
    pictures = [row for each in results.sources for row in _rows(each, each.left_out, "pictures")]
    videos = [] if results.videos is None else results.videos.sources
    return pictures + [row for each in videos for row in _rows(each, True, "videos")]


def draw_coverage(path: Path, results: EvaluationResults) -> Path:
    """Draw a bar per class of each source; at the right the accuracy of what was answered.

    Args:
        path: of the PNG.
        results: of the evaluation.
    """
    rows = coverage_rows(results)

    def draw(axes: NDArray[Any]) -> None:
        _draw_bars(axes[0, 0], rows)
        _draw_accuracy(axes[0, 1], rows)

    return save_subplots(path, (11.5, 1.9 + 0.36 * len(rows)), (1, 2), draw)


def _rows(each: SourceMetrics | VideoMetrics, left_out: bool, medium: str) -> list[CoverageRow]:
    rows = []
    answered = each.coverage.value * (each.reals + each.fakes)
    right = 0.0 if each.selective_accuracy is None else each.selective_accuracy.value * answered
    right_fakes = 0.0 if each.true_positive_rate is None else each.true_positive_rate.value * each.fakes
    if each.reals and each.false_positive_rate:
        share = max(0.0, right - right_fakes) / each.reals
        rows.append(_row(f"{each.name}: {each.reals} real {medium}", share, each.false_positive_rate.value,
                         each.reals, left_out))  # fmt: skip
    if each.fakes and each.true_positive_rate and each.false_negative_rate_at_clear:
        rows.append(_row(f"{each.name}: {each.fakes} fake {medium}", each.true_positive_rate.value,
                         each.false_negative_rate_at_clear.value, each.fakes, left_out))  # fmt: skip
    return rows


def _row(label: str, right: float, wrong: float, count: int, left_out: bool) -> CoverageRow:
    answered = round((right + wrong) * count)
    accuracy = estimate_proportion(round(right * count), answered) if answered else None
    return CoverageRow(label, right, wrong, accuracy, left_out)


def _draw_bars(axes: Axes, rows: Sequence[CoverageRow]) -> None:
    parts = (("right answer", REAL, [row.right for row in rows], "white"),
             ("no answer (inconclusive)", NOT_ANSWERED, [row.unanswered for row in rows], NEUTRAL),
             ("wrong answer", FAKE, [row.wrong for row in rows], "white"))  # fmt: skip
    left = [0.0] * len(rows)
    for name, colour, shares, text_colour in parts:
        axes.barh(range(len(rows)), shares, BAR_HEIGHT, left=left, color=colour, label=name)
        for y, (start, share) in enumerate(zip(left, shares, strict=True)):
            if share >= MIN_LABELLED:
                axes.text(start + share / 2, y, f"{100 * share:.0f}", ha="center", va="center", color=text_colour)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.set_yticks(range(len(rows)), [f"{row.label}{' *' if row.left_out else ''}" for row in rows])
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), xlabel="of 100 of each kind")
    axes.set_title("What the detector answers", loc="left")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
    axes.grid(visible=False)
    axes.figure.legend(loc="outside lower center", ncols=3, frameon=False, title="* never trained on")


def _draw_accuracy(axes: Axes, rows: Sequence[CoverageRow]) -> None:
    for y, row in enumerate(rows):
        if row.accuracy is None:
            axes.text(0.5, y, "nothing answered", ha="center", va="center", color=NEUTRAL, style="italic")
            continue
        value = row.accuracy
        axes.plot([value.low, value.high], [y, y], color=NEUTRAL, linewidth=4, alpha=0.4, solid_capstyle="butt")
        axes.plot(value.value, y, "o", color=REAL if value.value >= 0.5 else FAKE, markersize=7)
        axes.text(1.03, y, f"{value.value:.0%}", va="center", color=NEUTRAL)
    axes.set_yticks(range(len(rows)), [""] * len(rows))
    axes.set(xlim=(0, 1.01), ylim=(len(rows) - 0.4, -0.6), xlabel="right, of the answered ones (bar: 95 % interval)")
    axes.set_title("How often an answer is right", loc="left")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="y", visible=False)
