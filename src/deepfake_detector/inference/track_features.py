"""Scores (n,) and sides (n,) px of a face over time -> features (4,) of its track -> one calibrated score, 0 to 1.

The calibration is fitted on simulated videos, whose features are computed here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.model.bundle_contract import VideoCalibration

Floats = NDArray[np.float64]
FEATURES = ("mean", "deviation", "top_third", "face_size")  # as `TrackWeights` names them
MAX_LOGIT = 12.0  # of a frame: beyond it a single frame would decide about the mean
SIZES = (-1.0, 0.5)  # log2 of a face's side over 128 px in simulated videos; others count as the nearest of these


@dataclass(frozen=True)
class FusionRule:
    """How the frames of a track become its features.

    The DFDC winner's mean of the confidently fake frames was tried first: it raises real videos whose face is small in
    a third of the frames.
    """

    full_weight_px: float = 128.0  # side of a face; a smaller one counts by its area, as its crop is enlarged
    pooled_frames: float = 2.0  # weight of the whole video's features in each track's: few frames say little
    long_share: float = 0.25  # of the frames of the longest track; a shorter track, often no face, decides nothing


DEFAULT_RULE = FusionRule()


def frame_features(p_fakes: Sequence[float], sides_px: Sequence[float], rule: FusionRule = DEFAULT_RULE) -> Floats:
    """Features of faces: mean and standard deviation of their logits, mean of the highest third, size.

    Args:
        p_fakes: (n,) calibrated scores, n > 0.
        sides_px: (n,) shorter sides of the faces; mean and deviation are weighted by them.
        rule: the numbers.

    Returns:
        (4,) in the order of `FEATURES`; the size is log2 of the mean side over 128 px, within -1 and 0.5.
    """
    inside = np.clip(np.asarray(p_fakes, np.float64), 1e-12, 1 - 1e-12)
    logits = np.clip(np.log(inside) - np.log1p(-inside), -MAX_LOGIT, MAX_LOGIT)
    weights = np.array([face_weight(side_px, rule) for side_px in sides_px])
    mean = float(np.average(logits, weights=weights))
    deviation = math.sqrt(float(np.average((logits - mean) ** 2, weights=weights)))
    top_third = float(np.sort(logits)[-math.ceil(len(logits) / 3) :].mean())
    size = math.log2(max(float(np.mean(sides_px)), 1.0) / 128)
    return np.array([mean, deviation, top_third, min(max(size, SIZES[0]), SIZES[1])])


def track_features(
    p_fakes: Sequence[float], sides_px: Sequence[float], whole_video: Floats, rule: FusionRule = DEFAULT_RULE
) -> Floats:
    """Features (4,) of one track, pulled towards those of the whole video.

    Args:
        p_fakes: (n,) scores of the track's faces, n > 0.
        sides_px: (n,) of these faces.
        whole_video: (4,) `frame_features` of all scored faces of the video.
        rule: the numbers.
    """
    own = frame_features(p_fakes, sides_px, rule)
    weight = math.fsum(face_weight(side_px, rule) for side_px in sides_px)
    return (weight * own + rule.pooled_frames * whole_video) / (weight + rule.pooled_frames)


def calibrated_score(features: Floats, calibration: VideoCalibration) -> float:
    """Probability that the video with these features (4,) is a fake."""
    weights = [getattr(calibration.weights, name) for name in FEATURES]
    odds = calibration.intercept + math.fsum(w * f for w, f in zip(weights, features.tolist(), strict=True))
    return 1 / (1 + math.exp(-min(max(odds, -60.0), 60.0)))


def face_weight(side_px: float, rule: FusionRule = DEFAULT_RULE) -> float:
    """Weight of a face by its shorter side in px, above 0 and up to 1."""
    return min(1.0, max(side_px, 1.0) / rule.full_weight_px) ** 2


def long_tracks(frames: Sequence[int], rule: FusionRule = DEFAULT_RULE) -> list[int]:
    """Scored frames of each track -> indices of the tracks that are long enough to decide the verdict."""
    longest = max(frames, default=0)
    minimum = max(rule.long_share * longest, min(2, longest), 1)
    return [index for index, count in enumerate(frames) if count >= minimum]
