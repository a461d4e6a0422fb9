"""Probabilities (n,), labels (n,) and properties of the pictures -> metrics of each slice of the pictures by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from deepfake_detector.evaluation.metrics import estimate_calibration_error
from deepfake_detector.stats import (
    Estimate,
    Floats,
    Labels,
    estimate_auc,
    estimate_proportion,
    estimate_proportion_of,
)

SMALL_SAMPLE = 30  # pictures of a class; with fewer, a share is known to +-18 points at best
SMALL_FACE_PX, LARGE_FACE_PX = 96, 160  # shorter side of the box
RESAMPLES, BINS = 300, 15


class ClassCounts:
    """Base of the metrics of a group of pictures: how many of each class there are, and whether these are enough."""

    reals: int
    fakes: int

    @property
    def images(self) -> int:
        """Of both classes."""
        return self.reals + self.fakes

    @property
    def small_sample(self) -> bool:
        """Whether a class has too few pictures for its metrics to mean much."""
        return min(self.required_counts()) < SMALL_SAMPLE

    def required_counts(self) -> list[int]:
        """Pictures of the classes that the group should hold."""
        return [self.reals, self.fakes]


@dataclass(frozen=True)
class SliceMetrics(ClassCounts):
    """Metrics of one slice, at p_fake >= 0.5 unless named otherwise.

    Attributes:
        facet: the property that defines the slice: source, face size, compression.
        name: the property's value.
        auc, true_positive_rate, false_positive_rate: None where a class is missing; the rates are shares of the fakes
            and of the real ones at or above the threshold `flag`.
    """

    facet: str
    name: str
    reals: int
    fakes: int
    accuracy: Estimate
    ece: Estimate
    auc: Estimate | None
    true_positive_rate: Estimate | None
    false_positive_rate: Estimate | None

    def as_dict(self) -> dict[str, object]:
        """For a JSON report; unknown metrics are left out."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return known | {"images": self.images, "small_sample": self.small_sample}


def measure_slices(
    p_fake: Floats, labels: Labels, facets: Mapping[str, Sequence[str]], flag: float
) -> list[SliceMetrics]:
    """Metrics of each slice: a good mean can hide a slice on which the model fails.

    Args:
        p_fake: (n,) calibrated probabilities.
        labels: (n,).
        facets: property -> (n,) its value for each picture; "" where it is unknown.
        flag: threshold of the true and false positive rate.
    """
    found = []
    for facet, values in facets.items():
        names = np.asarray(values)
        for name in sorted(set(values) - {""}):
            found.append(_measure_slice(facet, name, p_fake[names == name], labels[names == name], flag))
    return found


def face_size_bin(side_px: float) -> str:
    """The slice of a picture by the shorter side of its largest face's box; "" without a face."""
    if side_px <= 0:
        return ""
    if side_px < SMALL_FACE_PX:
        return f"small, under {SMALL_FACE_PX} px"
    return f"large, over {LARGE_FACE_PX} px" if side_px > LARGE_FACE_PX else f"{SMALL_FACE_PX} to {LARGE_FACE_PX} px"


def compression_bin(jpeg_quality: int) -> str:
    """The slice of a picture by the JPEG quality of its quantization table; 0: not a JPEG."""
    if jpeg_quality <= 0:
        return "not a JPEG"
    for least, name in ((90, "90 and more"), (75, "75 to 89"), (50, "50 to 74")):
        if jpeg_quality >= least:
            return f"JPEG {name}"
    return "JPEG under 50"


def _measure_slice(facet: str, name: str, p_fake: Floats, labels: Labels, flag: float) -> SliceMetrics:
    fakes, reals = p_fake[labels == 1], p_fake[labels == 0]
    return SliceMetrics(
        facet=facet,
        name=name,
        reals=len(reals),
        fakes=len(fakes),
        accuracy=estimate_proportion(int(((p_fake >= 0.5) == labels).sum()), len(labels)),
        ece=estimate_calibration_error(p_fake, labels, BINS, RESAMPLES),
        auc=estimate_auc(p_fake, labels),
        true_positive_rate=estimate_proportion_of(fakes >= flag),
        false_positive_rate=estimate_proportion_of(reals >= flag),
    )
