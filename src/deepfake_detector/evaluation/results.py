"""Everything that `evaluate` measures -> one value, its part of reports/evaluate.json, and targets met or missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from deepfake_detector.evaluation.faithfulness import Faithfulness
from deepfake_detector.evaluation.labelled_videos import VideoResults
from deepfake_detector.evaluation.metrics import CalibrationComparison, ClassificationMetrics, ThresholdMetrics
from deepfake_detector.evaluation.robustness_metrics import ALL_SOURCES, ConditionMetrics, GridMetrics
from deepfake_detector.evaluation.shortcut_probes import ShortcutProbe
from deepfake_detector.evaluation.slices import SliceMetrics
from deepfake_detector.evaluation.source_metrics import LeftOutMetrics, SourceMetrics
from deepfake_detector.stats import Estimate

# For sources of wholly generated fakes, and for sources of face swaps, which no small detector separates well.
MIN_ACCURACY, MIN_AUC, MIN_SWAP_AUC, MIN_ROBUST_ACCURACY = 0.95, 0.99, 0.75, 0.88
MAX_ECE, MAX_FALSE_POSITIVE_RATE, MAX_PARAMETERS = 0.03, 0.05, 4_500_000


@dataclass(frozen=True)
class Target:
    """One target of this project and what was measured.

    Attributes:
        code: identifies the metric: accuracy, auc, robust_accuracy, ece, false_positive_rate, parameters.
        name: source and metric, for people.
        required, measured: for people.
    """

    code: str
    name: str
    required: str
    measured: str
    met: bool


def compare_with_targets(
    measured: Sequence[SourceMetrics], grid: GridMetrics, fake_kinds: Mapping[str, str], parameters: int
) -> list[Target]:
    """Compare the metrics of each source that was trained on with the targets.

    Args:
        measured: each source of the test pictures.
        grid: the corruption grid.
        fake_kinds: source -> synthetic or swap.
        parameters: of the network.
    """
    sources = [each for each in measured if not each.left_out]
    targets = [target for each in sources for target in _of_source(each, grid, fake_kinds.get(each.name, "synthetic"))]
    rates = [each.false_positive_rate.value for each in sources if each.false_positive_rate]
    if rates:
        mean = sum(rates) / len(rates)
        targets.append(Target(
            "false_positive_rate", "false positive rate at `flag`, mean of the sources",
            f"at most {MAX_FALSE_POSITIVE_RATE:.0%}", f"{mean:.1%}", mean <= MAX_FALSE_POSITIVE_RATE,
        ))  # fmt: skip
    small = parameters < MAX_PARAMETERS
    return [*targets, Target("parameters", "parameters", f"under {MAX_PARAMETERS:,}", f"{parameters:,}", small)]


def _of_source(each: SourceMetrics, grid: GridMetrics, kind: str) -> list[Target]:
    own_auc = None if each.auc_against else each.auc  # against other sources it is no property of this one
    if kind == "swap":
        return [_target("auc", f"{each.name}: AUC", own_auc, MIN_SWAP_AUC, "at least")] if own_auc else []
    mean = grid.means.get(each.name, grid.means[ALL_SOURCES])
    rows: list[tuple[str, str, Estimate | None, float, Literal["at least", "at most"]]] = [
        ("accuracy", "accuracy", each.accuracy, MIN_ACCURACY, "at least"),
        ("auc", "AUC", own_auc, MIN_AUC, "at least"),
        ("robust_accuracy", "mean accuracy over the corruption grid", mean.accuracy, MIN_ROBUST_ACCURACY, "at least"),
        ("ece", "calibration error (ECE)", each.ece, MAX_ECE, "at most"),
    ]
    return [_target(code, f"{each.name}: {name}", value, limit, bound) for code, name, value, limit, bound in rows
            if value]  # fmt: skip


def _target(code: str, name: str, value: Estimate, limit: float, bound: Literal["at least", "at most"]) -> Target:
    met = value.value >= limit if bound == "at least" else value.value <= limit
    return Target(code, name, f"{bound} {limit:g}", str(value), met)


@dataclass(frozen=True, eq=False)
class EvaluationResults:
    """What was measured, on test pictures of the sources that were trained on unless named otherwise.

    Attributes:
        parameters: of the network.
        test, valid: metrics of the crops as they are.
        corrupted: of the test crops after random corruption of the whole pictures.
        calibration: errors before and after calibration, per set of pictures.
        calibrated_on: clean or corruptions: the validation crops that set temperature and thresholds.
        fake_share: of those crops.
        vector_scaling: kind of fake -> weight and offset of its logit; part of the graph.
        at_thresholds, at_thresholds_corrupted: metrics of `test` and `corrupted` at the three thresholds.
        sources: each source apart, those with `use: test` too.
        left_out: the sources with `use: test` together; None without any.
        videos: the labelled videos, answered as in serving; None without any.
        end_to_end: all test pictures, decoded, detected, cropped and scored as in serving; per source and for all.
        grid: a sample of them under all corruptions.
        faithfulness: of the heatmaps; None where maps have one cell.
        terms: source -> its terms of use, where they are known.
        reencode: JPEG quality with which every picture was recompressed before cropping; 0: none.
        reproduction: the commands that train the same model again.
        quick: measured on small samples (`evaluate.quick`).
        feedback: sources with pictures from `deepfake feedback export`; those with `use: test` are not in `left_out`.
        drift_report: name of the drift report that came before the training; "": there is none.
    """

    parameters: int
    test: ClassificationMetrics
    valid: ClassificationMetrics
    corrupted: ClassificationMetrics
    calibration: tuple[CalibrationComparison, ...]
    calibrated_on: str
    fake_share: float
    vector_scaling: Mapping[str, tuple[float, float]]
    at_thresholds: ThresholdMetrics
    at_thresholds_corrupted: ThresholdMetrics
    slices: tuple[SliceMetrics, ...]
    sources: tuple[SourceMetrics, ...]
    left_out: LeftOutMetrics | None
    videos: VideoResults | None
    end_to_end: tuple[ConditionMetrics, ...]
    grid: GridMetrics
    probes: tuple[ShortcutProbe, ...]
    faithfulness: Faithfulness | None
    targets: tuple[Target, ...]
    terms: Mapping[str, str]
    reencode: int
    reproduction: str
    quick: bool = False
    feedback: frozenset[str] = frozenset()
    drift_report: str = ""

    @property
    def failed_probes(self) -> list[ShortcutProbe]:
        """In their order."""
        return [probe for probe in self.probes if not probe.passed]

    def of_facet(self, facet: str) -> list[SliceMetrics]:
        """Slices of one property of the pictures."""
        return [each for each in self.slices if each.facet == facet]

    def headline(self) -> dict[str, Any]:
        """The numbers of reports/evaluate.json; the long tables lie beside the figures."""
        whole = next(each for each in self.end_to_end if each.source == ALL_SOURCES)
        return {
            "quick": self.quick,
            "test": self.test.as_dict(),
            "valid": self.valid.as_dict(),
            "corrupted": self.corrupted.as_dict(),
            "at_thresholds": asdict(self.at_thresholds),
            "at_thresholds_corrupted": asdict(self.at_thresholds_corrupted),
            "per_source": {each.name: each.headline() for each in self.sources},
            **({"left_out": self.left_out.headline()} if self.left_out else {}),
            **({"videos": self.videos.headline()} if self.videos else {}),
            "end_to_end": {"images": whole.images, "coverage": vars(whole.coverage), "accuracy": vars(whole.accuracy)},
            "grid": {name: asdict(mean) for name, mean in self.grid.means.items()},
            "faithfulness": self.faithfulness.headline() if self.faithfulness else {"crops": 0},
            "probes": {"count": len(self.probes), "failed": len(self.failed_probes)},
            "targets": {"count": len(self.targets), "met": sum(target.met for target in self.targets)},
        }
