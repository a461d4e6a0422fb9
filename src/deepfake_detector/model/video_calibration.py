"""Features (n, 4) of simulated videos and labels (n,) -> calibration for videos: logistic regression and thresholds.

Thresholds of pictures do not apply: the frames of one face err together, so a mean of 16 frames is only a little surer
than one frame, and compression lowers all scores alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from deepfake_detector.model.bundle_contract import Thresholds, TrackWeights, VideoCalibration
from deepfake_detector.model.operating_points import ErrorRates, fit_thresholds

Floats = NDArray[np.float64]
FEATURES = tuple(TrackWeights.model_fields)  # columns of the features
# A higher score of the frames never lowers that of the video. A wider spread never raises it: frames of a real camera
# differ more than simulated ones, in which the spread of fakes is wider (weight 2.6 with the model of November 2026).
MIN_WEIGHTS = {"mean": 1e-3, "deviation": -20.0, "top_third": 0.0, "face_size": -20.0}
MAX_WEIGHTS = {"mean": 20.0, "deviation": 0.0, "top_third": 20.0, "face_size": 20.0}
MIN_VIDEOS_PER_CLASS = 40  # with fewer the calibration is not fitted
FOLDS = 5
SHRINKAGE = 0.02  # towards the mean logit of the frames; the weights of standardized features


def neutral_calibration(thresholds: Thresholds, rates: ErrorRates) -> VideoCalibration:
    """The mean logit of the frames and the thresholds of pictures."""
    return VideoCalibration(
        thresholds=thresholds,
        flag_false_positive_rate=_inside(rates.flag_false_positives),
        strict_false_positive_rate=_inside(min(rates.strict_false_positives, rates.flag_false_positives)),
    )


def fit_video_calibration(
    features: Floats, labels: NDArray[np.int64], groups: Sequence[str], rates: ErrorRates, pictures: Thresholds
) -> tuple[VideoCalibration, Floats]:
    """Fit weights on all videos, and thresholds on scores from weights that were fitted on other videos.

    Args:
        features: (n, 4), see `inference.track_features`.
        labels: (n,), 1 = fake.
        groups: (n,), sources, see `fit_thresholds`.
        rates: error rates that the thresholds aim at.
        pictures: thresholds of pictures, for a calibration that is not fitted.

    Returns:
        The calibration, and p_fake (n,) of each video by weights fitted without it. With fewer than 40 videos of a
        class the calibration is the neutral one.
    """
    neutral = neutral_calibration(pictures, rates)
    if min(int((labels == 1).sum()), int((labels == 0).sum())) < MIN_VIDEOS_PER_CLASS:
        return neutral, expit(features[:, FEATURES.index("mean")])
    fold = _folds(labels)
    p_fake = np.empty(len(labels))
    for k in range(FOLDS):
        p_fake[fold == k] = _scores(_fit(features[fold != k], labels[fold != k]), features[fold == k])
    intercept, weights = _fit(features, labels)
    return neutral.model_copy(update={
        "intercept": intercept,
        "weights": TrackWeights(**dict(zip(FEATURES, weights.tolist(), strict=True))),
        "thresholds": fit_thresholds(p_fake, labels, groups, rates),
        "videos": len(labels),
    }), p_fake  # fmt: skip


def _fit(features: Floats, labels: NDArray[np.int64]) -> tuple[float, Floats]:
    """Intercept and weights (4,) of a logistic regression in which both classes weigh the same."""
    centre, spread = features.mean(axis=0), features.std(axis=0)
    usable = spread > 1e-6
    scale = np.where(usable, spread, 1.0)
    standardized = (features - centre) / scale * usable
    toward = np.where(np.array(FEATURES) == "mean", scale, 0.0)  # weight 1 of the mean logit
    share = np.where(labels == 1, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))

    def loss(parameters: Floats) -> tuple[float, Floats]:
        z = standardized @ parameters[1:] + parameters[0]
        away = parameters[1:] - toward
        value = float((share * (np.logaddexp(0.0, z) - labels * z)).mean()) + SHRINKAGE * float(away @ away)
        residual = share * (expit(z) - labels) / len(labels)
        return value, np.concatenate([[residual.sum()], residual @ standardized + 2 * SHRINKAGE * away])

    limits = [(MIN_WEIGHTS[name] * s, MAX_WEIGHTS[name] * s) for name, s in zip(FEATURES, scale, strict=True)]
    best = minimize(
        loss, np.concatenate([[0.0], toward]), jac=True, method="L-BFGS-B", bounds=[(None, None), *limits]
    ).x
    weights = best[1:] / scale * usable
    return float(np.clip(best[0] - weights @ centre, -100, 100)), weights


def _scores(fitted: tuple[float, Floats], features: Floats) -> Floats:
    intercept, weights = fitted
    return np.asarray(expit(features @ weights + intercept), np.float64)


def _folds(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,): a fold for each video, with equal shares of both classes, in the order of the videos."""
    fold = np.empty(len(labels), np.int64)
    for label in (0, 1):
        rows = np.flatnonzero(labels == label)
        fold[rows] = np.arange(len(rows)) % FOLDS
    return fold


def _inside(rate: float) -> float:
    return float(np.clip(rate, 1e-6, 1 - 1e-6))
