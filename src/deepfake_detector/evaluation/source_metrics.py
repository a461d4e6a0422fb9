"""Probabilities (n,), labels (n,) and sources (n,) of test pictures -> metrics per source, and of the left-out ones.

A source that holds one class has no AUC of its own: its pictures are compared with those of the other class in all
other sources.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deepfake_detector.evaluation.metrics import estimate_calibration_error, threshold_metrics
from deepfake_detector.evaluation.slices import BINS, RESAMPLES, ClassCounts
from deepfake_detector.model.bundle import Thresholds
from deepfake_detector.stats import (
    Estimate,
    Floats,
    Integers,
    Labels,
    compared_rows,
    estimate_auc,
    estimate_mean_auc,
    estimate_proportion,
    estimate_proportion_of,
)

CLASSES = ("reals", "fakes")  # in the order of the labels


@dataclass(frozen=True)
class SourceMetrics(ClassCounts):
    """Metrics of one source, of its test pictures.

    Attributes:
        left_out: never trained on (`use: test`).
        accuracy: at p_fake >= 0.5.
        ece: None for one class.
        auc: None if no other source holds the missing class.
        auc_against: whose pictures stand in for a missing class, for example "fakes of faces, swaps"; "" if none do.
        coverage: share that is answered "fake" or "real".
        selective_accuracy: accuracy of these; None if there are none.
        false_positive_rate: share of the reals at or above `flag`; None without reals.
        true_positive_rate, false_negative_rate_at_clear: shares of the fakes at or above `flag`, and of those that are
            answered "real"; None without fakes.
    """

    name: str
    left_out: bool
    reals: int
    fakes: int
    accuracy: Estimate
    ece: Estimate | None
    auc: Estimate | None
    auc_against: str
    coverage: Estimate
    selective_accuracy: Estimate | None
    false_positive_rate: Estimate | None
    true_positive_rate: Estimate | None
    false_negative_rate_at_clear: Estimate | None

    def required_counts(self) -> list[int]:
        """Pictures of the classes that it holds: a source may consist of one."""
        return [count for count in (self.reals, self.fakes) if count]

    def headline(self) -> dict[str, object]:
        """For reports/evaluate.json; unknown metrics are left out."""
        known = {name: value for name, value in asdict(self).items() if value is not None and name != "name"}
        return {"images": self.images} | known


@dataclass(frozen=True)
class LeftOutMetrics:
    """Metrics of all sources that were never trained on, together.

    Attributes:
        images: of all of them.
        auc: mean over the sources with fakes, each with the same weight; None without fakes.
        false_positive_rate: at `flag`, of the worst source with reals; None without reals.
        coverage: share of all pictures that is answered.
        false_negative_rate_at_clear: share of all fakes that are answered "real"; None without fakes.
    """

    images: int
    auc: Estimate | None
    false_positive_rate: Estimate | None
    coverage: Estimate
    false_negative_rate_at_clear: Estimate | None

    def headline(self) -> dict[str, object]:
        """For reports/evaluate.json; unknown metrics are left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def measure_sources(
    p_fake: Floats, labels: Labels, sources: Sequence[str], left_out: Collection[str], thresholds: Thresholds
) -> list[SourceMetrics]:
    """Metrics of each source, sorted by name.

    Args:
        p_fake: (n,) calibrated probabilities of all test pictures.
        labels: (n,).
        sources: (n,).
        left_out: sources that were never trained on.
        thresholds: of the contract.
    """
    names = np.asarray(sources)
    return [_measure_source(name, p_fake, labels, names, name in left_out, thresholds) for name in sorted(set(sources))]


def measure_left_out(
    p_fake: Floats, labels: Labels, sources: Sequence[str], left_out: Collection[str], measured: Sequence[SourceMetrics]
) -> LeftOutMetrics | None:
    """Metrics of the left-out sources together; None if there are none.

    Args:
        p_fake, labels, sources, left_out: see `measure_sources`.
        measured: what it returned.
    """
    ours = [each for each in measured if each.left_out]
    if not ours:
        return None
    answered = sum(round(each.coverage.value * each.images) for each in ours)
    images, fakes = sum(each.images for each in ours), sum(each.fakes for each in ours)
    rates = [each.false_positive_rate for each in ours if each.false_positive_rate]
    cleared = [round(each.false_negative_rate_at_clear.value * each.fakes)
               for each in ours if each.false_negative_rate_at_clear]  # fmt: skip
    subsets = left_out_subsets(labels, sources, left_out)
    return LeftOutMetrics(
        images=images,
        auc=estimate_mean_auc(p_fake, labels, subsets, strata(labels, sources)) if subsets else None,
        false_positive_rate=max(rates, key=lambda rate: rate.value, default=None),
        coverage=estimate_proportion(answered, images),
        false_negative_rate_at_clear=estimate_proportion(sum(cleared), fakes) if fakes else None,
    )


def left_out_subsets(labels: Labels, sources: Sequence[str], left_out: Collection[str]) -> list[Integers]:
    """Row numbers of each left-out source with fakes, together with the pictures that its AUC is measured against."""
    names = np.asarray(sources)
    candidates = [name for name in sorted(set(left_out)) if ((names == name) & (labels == 1)).any()]
    subsets = [compared_rows(labels, names == name) for name in candidates]
    return [rows for rows in subsets if len(set(labels[rows].tolist())) == len(CLASSES)]


def strata(labels: Labels, sources: Sequence[str]) -> Integers:
    """(n,) a number per source and class, within which a bootstrap draws."""
    numbers: Mapping[str, int] = {name: number for number, name in enumerate(sorted(set(sources)))}
    return np.array([2 * numbers[source] for source in sources], np.int64) + labels


def _measure_source(
    name: str, p_fake: Floats, labels: Labels, names: np.ndarray[Any, Any], left_out: bool, thresholds: Thresholds
) -> SourceMetrics:
    own, rows = names == name, compared_rows(labels, names == name)
    p_own, labels_own = p_fake[own], labels[own]
    fakes, reals = int(labels_own.sum()), int((labels_own == 0).sum())
    at = threshold_metrics(p_own, labels_own, thresholds)
    ece = estimate_calibration_error(p_own, labels_own, BINS, RESAMPLES) if fakes and reals else None
    return SourceMetrics(
        name=name,
        left_out=left_out,
        reals=reals,
        fakes=fakes,
        accuracy=estimate_proportion(int(((p_own >= 0.5) == labels_own).sum()), len(labels_own)),
        ece=ece,
        auc=estimate_auc(p_fake[rows], labels[rows]),
        auc_against=_against(labels, names, name, rows),
        coverage=at.coverage,
        selective_accuracy=at.selective_accuracy if at.coverage.value else None,
        false_positive_rate=estimate_proportion_of(p_own[labels_own == 0] >= thresholds.flag),
        true_positive_rate=estimate_proportion_of(p_own[labels_own == 1] >= thresholds.flag),
        false_negative_rate_at_clear=at.false_negative_rate_at_clear if fakes else None,
    )


def _against(labels: Labels, names: np.ndarray[Any, Any], name: str, rows: Integers) -> str:
    others = rows[names[rows] != name]
    if not len(others):
        return ""
    return f"{CLASSES[int(labels[others[0]])]} of {', '.join(sorted(set(names[others].tolist())))}"
