from __future__ import annotations

import math

import numpy as np
import pytest

from deepfake_detector.inference.track_features import (
    FEATURES,
    calibrated_score,
    face_weight,
    frame_features,
    long_tracks,
    track_features,
)
from deepfake_detector.model.bundle_contract import Thresholds, TrackWeights, VideoCalibration


def calibration(intercept: float = 0.0, **weights: float) -> VideoCalibration:
    return VideoCalibration(
        intercept=intercept,
        weights=TrackWeights(**weights),
        thresholds=Thresholds(clear=0.3, flag=0.7, strict=0.9),
        flag_false_positive_rate=0.01,
        strict_false_positive_rate=0.001,
    )


def probability(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def test_features_are_mean_deviation_top_third_and_size() -> None:
    p_fakes = [probability(logit) for logit in (-1.0, 0.0, 1.0, 2.0)]
    features = dict(zip(FEATURES, frame_features(p_fakes, [160.0] * 4), strict=True))
    size = math.log2(160 / 128)
    assert features == pytest.approx({"mean": 0.5, "deviation": math.sqrt(1.25), "top_third": 1.5, "face_size": size})
    assert set(FEATURES) == set(TrackWeights.model_fields)


def test_sizes_beyond_those_of_simulated_videos_count_as_the_nearest() -> None:
    assert [frame_features([0.5], [side_px])[3] for side_px in (10.0, 64.0, 128.0, 4000.0)] == [-1.0, -1.0, 0.0, 0.5]


def test_small_faces_weigh_less() -> None:
    assert face_weight(200) == face_weight(128) == 1.0
    assert face_weight(64) == 0.25
    assert face_weight(0) > 0
    mean = frame_features([probability(-2.0), probability(2.0)], [128.0, 64.0])[0]
    assert mean == pytest.approx((-2 + 2 / 4) / 1.25)


def test_certain_frames_have_finite_features() -> None:
    assert np.isfinite(frame_features([0.0, 1.0], [0.0, 1e6])).all()
    assert abs(frame_features([1.0], [100.0])[0]) <= 12


def test_the_only_track_of_a_video_has_the_features_of_the_video() -> None:
    p_fakes, sides = [0.1, 0.5, 0.9, 0.7], [90.0, 100.0, 200.0, 150.0]
    whole = frame_features(p_fakes, sides)
    assert track_features(p_fakes, sides, whole) == pytest.approx(whole)


def test_a_short_track_is_pulled_towards_the_whole_video() -> None:
    whole = frame_features([0.1] * 20, [128.0] * 20)
    one, many = ([0.9] * n for n in (1, 20))
    own = frame_features(one, [128.0])[0]
    short = track_features(one, [128.0], whole)[0]
    assert short == pytest.approx((own + 2 * whole[0]) / 3)
    assert short < track_features(many, [128.0] * 20, whole)[0] < own


def test_the_default_calibration_is_the_mean_logit() -> None:
    assert calibrated_score(frame_features([0.87] * 5, [85.0] * 5), calibration()) == pytest.approx(0.87)


def test_every_feature_has_its_weight() -> None:
    features = np.array([0.3, 0.2, 0.5, -1.0])
    score = calibrated_score(features, calibration(0.1, mean=2, deviation=-3, top_third=4, face_size=5))
    assert score == pytest.approx(probability(0.1 + 0.6 - 0.6 + 2.0 - 5.0))
    assert calibrated_score(features * 1e6, calibration(mean=100)) == pytest.approx(1.0)


def test_a_track_below_a_quarter_of_the_longest_is_not_long() -> None:
    assert long_tracks([16, 3, 4]) == [0, 2]
    assert long_tracks([16, 1]) == [0]
    assert long_tracks([3, 1]) == [0]
    assert long_tracks([1, 1]) == [0, 1]
    assert long_tracks([0, 0]) == []
    assert long_tracks([]) == []
