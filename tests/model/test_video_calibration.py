from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from deepfake_detector.inference import track_features
from deepfake_detector.model.bundle_contract import Thresholds
from deepfake_detector.model.operating_points import ErrorRates
from deepfake_detector.model.video_calibration import FEATURES, fit_video_calibration, neutral_calibration

RATES = ErrorRates(flag_false_positives=0.02, strict_false_positives=0.001, clear_false_negatives=0.05)
PICTURES = Thresholds(clear=0.2, flag=0.8, strict=0.9)


def videos(n: int, seed: int = 0, fake_share: float = 0.5) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Features (n, 4) of videos whose log odds are 2 * mean - 1 + the log odds of `fake_share`, and their labels."""
    rng = np.random.default_rng(seed)
    mean, size = rng.normal(0.5, 1.5, n), rng.normal(0, 0.5, n)
    deviation, top = rng.gamma(2, 0.2, n), mean + rng.gamma(2, 0.1, n)
    odds = 2 * mean - 1 + np.log(fake_share / (1 - fake_share))
    labels = (rng.random(n) < expit(odds)).astype(np.int64)
    return np.column_stack([mean, deviation, top, size]), labels


def test_the_features_are_those_of_serving() -> None:
    assert FEATURES == track_features.FEATURES


@pytest.mark.parametrize("fake_share", [0.2, 0.5, 0.8])
def test_probabilities_are_calibrated_for_even_classes(fake_share: float) -> None:
    features, labels = videos(4000, 1, fake_share)
    calibration, _ = fit_video_calibration(features, labels, ["a"] * 4000, RATES, PICTURES)
    assert calibration.videos == 4000
    fresh, fresh_labels = videos(20_000, 2, fake_share)
    p = np.array([track_features.calibrated_score(row, calibration) for row in fresh])
    for low in (0.1, 0.3, 0.5, 0.7):
        inside = (p > low) & (p <= low + 0.2)
        even = _share_if_even(fresh_labels, inside)
        assert even == pytest.approx(p[inside].mean(), abs=0.08)


def _share_if_even(labels: NDArray[np.int64], inside: NDArray[np.bool_]) -> float:
    fakes, reals = (labels[inside] == 1).sum() / labels.mean(), (labels[inside] == 0).sum() / (1 - labels.mean())
    return float(fakes / (fakes + reals))


def test_thresholds_come_from_scores_of_other_videos() -> None:
    features, labels = videos(1000, 3)
    calibration, p_fake = fit_video_calibration(features, labels, ["a"] * 1000, RATES, PICTURES)
    reals = p_fake[labels == 0]
    assert (reals >= calibration.thresholds.flag).mean() <= 0.02
    own = np.array([track_features.calibrated_score(row, calibration) for row in features])
    assert not np.array_equal(own, p_fake)
    assert np.corrcoef(own, p_fake)[0, 1] > 0.99


def test_the_worst_source_sets_the_threshold() -> None:
    features, labels = videos(4000, 4)
    groups = np.where(np.arange(4000) % 2, "soft", "sharp")
    soft_reals = np.flatnonzero((groups == "soft") & (labels == 0))
    for column in (0, 2):  # mean and top third: the reals of one camera look faked
        features[soft_reals, column] += 1.0
    calibration, p_fake = fit_video_calibration(features, labels, groups.tolist(), RATES, PICTURES)
    soft = p_fake[(groups == "soft") & (labels == 0)]
    pooled, _ = fit_video_calibration(features, labels, ["all"] * 4000, RATES, PICTURES)
    assert (soft >= calibration.thresholds.flag).mean() <= 0.02
    assert (soft >= pooled.thresholds.flag).mean() > 0.02


def test_few_videos_keep_the_mean_logit_and_the_thresholds_of_pictures() -> None:
    features, labels = videos(60, 5)
    calibration, p_fake = fit_video_calibration(features, labels, ["a"] * 60, RATES, PICTURES)
    assert calibration == neutral_calibration(PICTURES, RATES)
    assert (calibration.videos, calibration.thresholds, calibration.intercept) == (0, PICTURES, 0.0)
    assert p_fake == pytest.approx(expit(features[:, 0]))
    none, scores = fit_video_calibration(np.zeros((0, 4)), np.zeros(0, np.int64), [], RATES, PICTURES)
    assert (none, len(scores)) == (calibration, 0)


def test_a_higher_score_of_the_frames_never_lowers_that_of_the_video() -> None:
    features, labels = videos(500, 6)
    calibration, _ = fit_video_calibration(features, 1 - labels, ["a"] * 500, RATES, PICTURES)  # turned round
    assert calibration.weights.mean > 0
    assert calibration.weights.top_third >= 0


def test_a_wider_spread_never_raises_the_score() -> None:
    features, labels = videos(1000, 7)
    features[:, 1] += labels  # in these videos fakes vary more
    calibration, _ = fit_video_calibration(features, labels, ["a"] * 1000, RATES, PICTURES)
    assert calibration.weights.deviation == 0.0
    features[:, 1] -= 2 * labels
    calibration, _ = fit_video_calibration(features, labels, ["a"] * 1000, RATES, PICTURES)
    assert calibration.weights.deviation < 0


def test_separable_classes_and_constant_features_are_finite() -> None:
    features = np.zeros((200, 4))
    labels = np.arange(200) % 2
    features[:, 0] = np.where(labels == 1, 9.0, -9.0)
    calibration, p_fake = fit_video_calibration(features, labels, ["a"] * 200, RATES, PICTURES)
    assert np.isfinite(list(calibration.weights.model_dump().values())).all()
    assert calibration.weights.face_size == 0.0
    assert ((p_fake > 0.5) == (labels == 1)).all()


def test_rates_of_0_and_1_give_a_valid_contract() -> None:
    extreme = ErrorRates(flag_false_positives=1.0, strict_false_positives=0.0, clear_false_negatives=0.0)
    calibration = neutral_calibration(PICTURES, extreme)
    assert 0 < calibration.strict_false_positive_rate < calibration.flag_false_positive_rate < 1
    assert calibration.for_tracks(3).flag >= PICTURES.flag
