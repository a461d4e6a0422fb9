"""Probabilities (n,), labels (n,) and what is known of each picture -> figures of every kind of picture by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from deepfake_detector.evaluation.metrics import calibration_interval
from deepfake_detector.stats import Estimate, Floats, Labels, auc, share, share_of

TINY = 30  # pictures of a class below which a share is known to +-18 points at best
SMALL_FACE_PX, LARGE_FACE_PX = 96, 160  # shorter side of the box
RESAMPLES, BINS = 300, 15


@dataclass(frozen=True)
class Slice:
    """How well one model does on one kind of pictures, at p_fake >= 0.5 unless named otherwise.

    Attributes:
        facet: what the pictures have in common: source, face size, compression.
        auc, caught, false_alarms: None where a class is missing; `caught` and `false_alarms` are the shares of fakes
            and of real ones at or above the threshold `flag`.
    """

    facet: str
    name: str
    reals: int
    fakes: int
    accuracy: Estimate
    ece: Estimate
    auc: Estimate | None
    caught: Estimate | None
    false_alarms: Estimate | None

    @property
    def images(self) -> int:
        """Of both classes."""
        return self.reals + self.fakes

    @property
    def tiny(self) -> bool:
        """Too few pictures of a class for its figures to mean much."""
        return min(self.reals, self.fakes) < TINY

    def as_dict(self) -> dict[str, object]:
        """For a JSON report; what is not known is left out."""
        kept = {name: value for name, value in asdict(self).items() if value is not None}
        return kept | {"images": self.images, "tiny": self.tiny}

    def headline(self) -> dict[str, object]:
        """The few numbers that a metrics file shows."""
        return {key: value for key, value in self.as_dict().items() if key in ("images", "accuracy", "auc", "ece")}


def measure_slices(p_fake: Floats, labels: Labels, facets: Mapping[str, Sequence[str]], flag: float) -> list[Slice]:
    """Figures of each kind of picture by itself: a good sum may hide a kind that the model fails on.

    Args:
        p_fake: (n,) calibrated probabilities.
        labels: (n,).
        facets: what is told apart -> (n,) the name of each picture's kind; "" for one of which it is not known.
        flag: threshold of `caught` and `false_alarms`.
    """
    found = []
    for facet, kinds in facets.items():
        names = np.asarray(kinds)
        for name in sorted(set(kinds) - {""}):
            found.append(_slice(facet, name, p_fake[names == name], labels[names == name], flag))
    return found


def face_size(side_px: float) -> str:
    """The kind of a picture by the shorter side of its largest face's box; "" if it shows none."""
    if side_px <= 0:
        return ""
    if side_px < SMALL_FACE_PX:
        return f"small, under {SMALL_FACE_PX} px"
    return f"large, over {LARGE_FACE_PX} px" if side_px > LARGE_FACE_PX else f"{SMALL_FACE_PX} to {LARGE_FACE_PX} px"


def compression(jpeg_quality: int) -> str:
    """The kind of a picture by the JPEG quality that its quantization table stands for; 0: not a JPEG."""
    if jpeg_quality <= 0:
        return "not a JPEG"
    for least, name in ((90, "90 and more"), (75, "75 to 89"), (50, "50 to 74")):
        if jpeg_quality >= least:
            return f"JPEG {name}"
    return "JPEG under 50"


def _slice(facet: str, name: str, p_fake: Floats, labels: Labels, flag: float) -> Slice:
    fakes, reals = p_fake[labels == 1], p_fake[labels == 0]
    return Slice(
        facet=facet,
        name=name,
        reals=len(reals),
        fakes=len(fakes),
        accuracy=share(int(((p_fake >= 0.5) == labels).sum()), len(labels)),
        ece=calibration_interval(p_fake, labels, BINS, RESAMPLES),
        auc=auc(p_fake, labels),
        caught=share_of(fakes >= flag),
        false_alarms=share_of(reals >= flag),
    )
