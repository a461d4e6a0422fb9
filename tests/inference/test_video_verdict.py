from __future__ import annotations

import math

import pytest

from deepfake_detector.inference.decision import DRAWN_SAMPLE_WARNING, NO_FACE
from deepfake_detector.inference.verdict import ModelInfo, VideoFaceVerdict
from deepfake_detector.inference.video_verdict import select_evidence_frames, video_verdict
from deepfake_detector.model.bundle_contract import Coverage, MediumCoverage, Thresholds, VideoCalibration

TIMES_S = [float(t) for t in range(16)]
CALIBRATION = VideoCalibration(
    thresholds=Thresholds(clear=0.3, flag=0.7, strict=0.9),
    flag_false_positive_rate=0.01,
    strict_false_positive_rate=0.001,
)


def model(trained_on: str = "photographs") -> ModelInfo:
    thresholds = Thresholds(clear=0.3, flag=0.7, strict=0.9)
    return ModelInfo(sha256="a" * 64, run_id="run", trained_on=trained_on, network="tiny", thresholds=thresholds)


def face(t_s: float, p_fake: float | None, track: int = 0) -> VideoFaceVerdict:
    return VideoFaceVerdict(
        box_px=(0, 0, 90, 90),
        landmarks_px=tuple((0.0, 0.0) for _ in range(5)),
        score=0.9,
        p_fake=p_fake,
        problem="too small" if p_fake is None else None,
        t_s=t_s,
        track=track,
    )


def track(number: int, scores: list[float | None], start: int = 0) -> list[VideoFaceVerdict]:
    return [face(TIMES_S[start + i], p_fake, number) for i, p_fake in enumerate(scores)]


def test_few_frames_of_small_faces_do_not_decide_against_the_rest() -> None:
    """As in a real video of a zooming camera: its distant shots alone would score 0.87."""
    far = [face.model_copy(update={"box_px": (0, 0, 85, 85)}) for face in track(1, [0.87] * 5, start=9)]
    near = [face.model_copy(update={"box_px": (0, 0, 213, 213)}) for face in track(0, [0.15] * 9)]
    answer = video_verdict(far + near, TIMES_S, 15.5, model(), CALIBRATION)
    assert answer.p_fake is not None
    assert 0.3 < answer.p_fake < 0.7
    alone = video_verdict([face.model_copy(update={"track": 0}) for face in far], TIMES_S, 15.5, model(), CALIBRATION)
    assert alone.p_fake == pytest.approx(0.87)


def test_the_long_track_with_the_highest_score_decides() -> None:
    faces = track(0, [0.1] * 16) + track(1, [0.95] * 8, start=4) + track(2, [0.99], start=2)
    answer = video_verdict(faces, TIMES_S, 15.5, model(), CALIBRATION)
    assert (answer.verdict, answer.evidence) == ("fake", "strong")
    assert answer.p_fake is not None
    assert 0.7 < answer.p_fake < 0.9  # pulled towards the rest of the video
    assert [t.long for t in answer.tracks] == [True, True, False]
    assert (answer.tracks[1].start_s, answer.tracks[1].end_s, answer.tracks[1].frames) == (4.0, 11.0, 8)
    assert answer.reasons[0].startswith(
        "the most suspicious of 2 tracked faces, scored in 8 of 16 sampled frames (4.0 to 11.0 s), scores 0.865, "
        "at or above 0.778, the threshold for fake"
    )


def test_a_video_has_the_kind_of_its_deciding_track() -> None:
    def with_kind(faces: list[VideoFaceVerdict], swap: float) -> list[VideoFaceVerdict]:
        shares = {"synthetic": round(1 - swap, 4), "swap": swap}
        return [face.model_copy(update={"kind_of_fake": shares}) for face in faces]

    faces = with_kind(track(0, [0.1] * 8), 0.1)
    faces += with_kind(track(1, [0.95] * 4), 0.9) + with_kind(track(1, [0.95] * 4, 4), 0.7)
    answer = video_verdict(faces, TIMES_S, 16.0, model(), CALIBRATION)
    assert answer.kind_of_fake == answer.tracks[1].kind_of_fake == {"synthetic": 0.2, "swap": 0.8}
    assert answer.tracks[0].kind_of_fake is None  # called real
    assert {face.kind_of_fake is None for face in answer.faces if face.track == 0} == {True}
    assert "it looks like a face swap rather than a generated face (0.80)" in answer.reasons


def test_the_timeline_has_a_point_for_every_sampled_frame() -> None:
    answer = video_verdict(track(0, [0.2, 0.9, None]), TIMES_S, 15.5, model(), CALIBRATION)
    assert [point.t_s for point in answer.timeline] == TIMES_S
    assert [(point.p_fake, point.faces) for point in answer.timeline[:4]] == [(0.2, 1), (0.9, 1), (None, 1), (None, 0)]


def test_a_video_without_faces_is_inconclusive() -> None:
    answer = video_verdict([], TIMES_S, 15.5, model(), CALIBRATION)
    assert (answer.verdict, answer.p_fake, answer.evidence, answer.tracks) == ("inconclusive", None, None, ())
    assert answer.reasons == (f"in 16 sampled frames {NO_FACE}, and this model scores faces only",)


def test_a_video_without_scored_faces_is_inconclusive() -> None:
    answer = video_verdict(track(0, [None, None]), TIMES_S, 15.5, model(), CALIBRATION)
    assert (answer.verdict, answer.p_fake) == ("inconclusive", None)
    assert answer.reasons == ("2 of 2 faces not scored: too small",)


def test_the_warning_of_the_drawn_sample_comes_first() -> None:
    assert video_verdict([], TIMES_S, 15.5, model("drawn sample"), CALIBRATION).reasons[0] == DRAWN_SAMPLE_WARNING


def test_a_partly_sampled_video_says_so() -> None:
    answer = video_verdict(track(0, [0.1] * 16), TIMES_S, 900.0, model(), CALIBRATION, sampled_s=600.0)
    assert answer.reasons[-1] == "only the first 600 of 900 s were analysed"
    assert answer.duration_s == 900.0
    assert "analysed" not in video_verdict([], TIMES_S, 15.5, model(), CALIBRATION, sampled_s=15.5).reasons[-1]


def test_the_frames_are_weighted_by_the_calibration() -> None:
    faces = track(0, [*[0.2] * 12, *[0.6] * 4])
    mean_only = video_verdict(faces, TIMES_S, 16.0, model(), CALIBRATION)
    calibration = CALIBRATION.model_copy(update={"intercept": 1.5})
    shifted = video_verdict(faces, TIMES_S, 16.0, model(), calibration)
    assert mean_only.p_fake is not None
    assert shifted.p_fake is not None
    odds, shifted_odds = (p / (1 - p) for p in (mean_only.p_fake, shifted.p_fake))
    assert shifted_odds / odds == pytest.approx(4.4817, rel=1e-4)  # e to the power of 1.5
    assert (mean_only.verdict, shifted.verdict) == ("real", "inconclusive")


def test_a_video_has_thresholds_of_its_own() -> None:
    faces = track(0, [0.75] * 16)
    assert video_verdict(faces, TIMES_S, 16.0, model(), CALIBRATION).verdict == "fake"
    stricter = CALIBRATION.model_copy(update={"thresholds": Thresholds(clear=0.3, flag=0.8, strict=0.9)})
    answer = video_verdict(faces, TIMES_S, 16.0, model(), stricter)
    assert (answer.verdict, answer.thresholds.flag, answer.model.thresholds.flag) == ("inconclusive", 0.8, 0.7)
    assert answer.reasons[0].endswith("scores 0.750, between 0.300 (no trace) and 0.800 (fake): too close to call")


def test_one_of_many_tracks_needs_a_higher_score() -> None:
    """Each of ten real faces exceeds the threshold of 1 % by chance: 10 % of such videos would be called fake."""
    suspicious = track(0, [0.8] * 16)
    alone = video_verdict(suspicious, TIMES_S, 16.0, model(), CALIBRATION)
    assert (alone.verdict, alone.thresholds.flag) == ("fake", 0.7)
    crowd = [*suspicious, *(face for number in range(1, 10) for face in track(number, [0.75] * 16))]
    answer = video_verdict(crowd, TIMES_S, 16.0, model(), CALIBRATION)
    assert answer.thresholds.flag == 0.9
    assert (answer.verdict, len([each for each in answer.tracks if each.long])) == ("inconclusive", 10)
    odds = (7 / 3) ** (1 - math.log10(3)) * 9 ** math.log10(3)  # of 0.7 and 0.9, between 1 % and 0.1 %
    three = video_verdict(crowd[:48], TIMES_S, 16.0, model(), CALIBRATION)
    assert three.thresholds.flag == pytest.approx(odds / (1 + odds))


def test_measured_coverage_is_a_reason_where_a_face_was_scored() -> None:
    coverage = MediumCoverage(all=Coverage(files=1200, decided=0.61, right=0.934))
    faces = track(0, [0.1] * 16)
    answer = video_verdict(faces, TIMES_S, 16.0, model(), CALIBRATION, coverage=coverage)
    sentence = "of videos like this 61% are decided, 93% of these rightly (1,200 videos with a known answer)"
    assert answer.reasons[-1] == sentence
    without = video_verdict(faces, TIMES_S, 16.0, model(), CALIBRATION)
    assert without.reasons == answer.reasons[:-1]
    assert sentence not in video_verdict([], TIMES_S, 16.0, model(), CALIBRATION, coverage=coverage).reasons


# Evidence frames


def test_evidence_for_a_fake_is_the_highest_scores_of_the_deciding_track() -> None:
    faces = [face(1, 0.2), face(1, 0.99, track=1), face(5, 0.9), face(9, 0.4), face(13, 0.8), face(15, None)]
    frames = select_evidence_frames(faces, 0, "fake", 16.0)
    assert [(frame.face, frame.t_s, frame.p_fake) for frame in frames] == [(2, 5, 0.9), (4, 13, 0.8), (3, 9, 0.4)]
    assert {frame.track for frame in frames} == {0}


def test_evidence_for_a_real_video_is_its_lowest_scores() -> None:
    faces = [face(1, 0.2), face(5, 0.05), face(9, 0.1)]
    assert [frame.p_fake for frame in select_evidence_frames(faces, 0, "real", 16.0)] == [0.05, 0.1, 0.2]
    assert [frame.p_fake for frame in select_evidence_frames(faces, 0, "inconclusive", 16.0)] == [0.2, 0.1, 0.05]


def test_neighbouring_frames_count_once_as_evidence() -> None:
    faces = [face(5.0, 0.9), face(5.1, 0.89), face(8, 0.7)]
    assert [frame.t_s for frame in select_evidence_frames(faces, 0, "fake", 16.0)] == [5.0, 8.0]


def test_without_a_deciding_track_there_is_no_evidence() -> None:
    assert select_evidence_frames([face(1, None)], None, "inconclusive", 16.0) == ()
