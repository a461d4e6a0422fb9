from __future__ import annotations

import pytest

from deepfake_detector.model.bundle import Thresholds
from deepfake_detector.scoring.decision import DRAWN_WARNING
from deepfake_detector.scoring.fuse import fuse, long_tracks, video_verdict
from deepfake_detector.scoring.verdict import ModelNamed, VideoFaceVerdict

TIMES_S = [float(t) for t in range(16)]


def named(trained_on: str = "photographs") -> ModelNamed:
    marks = Thresholds(clear=0.3, flag=0.7, strict=0.9)
    return ModelNamed(sha256="a" * 64, run_id="run", trained_on=trained_on, network="tiny", thresholds=marks)


def track(number: int, scores: list[float | None], start: int = 0) -> list[VideoFaceVerdict]:
    points = tuple((0.0, 0.0) for _ in range(5))
    return [
        VideoFaceVerdict(
            box_px=(0, 0, 90, 90),
            landmarks_px=points,
            score=0.9,
            p_fake=p,
            problem="too small" if p is None else None,
            t_s=TIMES_S[start + i],
            track=number,
        )
        for i, p in enumerate(scores)
    ]


def test_no_scores_no_score() -> None:
    assert fuse([]) is None


def test_the_plain_mean_is_the_rule_without_confidence() -> None:
    assert fuse([0.4, 0.5, 0.6, 0.7]) == pytest.approx(0.55)


def test_enough_confident_fakes_outvote_the_rest() -> None:
    scores = [0.9] * 7 + [0.1] * 9
    assert fuse(scores) == pytest.approx(0.9)
    # 6 of 16 is 37.5 %: not over the 40 % asked for, so all count.
    assert fuse([0.9] * 6 + [0.1] * 10) == pytest.approx(0.4)


def test_few_frames_are_not_enough_however_confident() -> None:
    assert fuse([0.95, 0.95, 0.1]) == pytest.approx(2.0 / 3)


def test_nearly_all_confidently_real_drops_the_outlier() -> None:
    assert fuse([0.1] * 15 + [0.75]) == pytest.approx(0.1)
    assert fuse([0.1] * 9 + [0.7]) == pytest.approx(0.16)  # exactly 90 % is not over 90 %


def test_a_track_below_a_quarter_of_the_longest_decides_nothing() -> None:
    assert long_tracks([16, 3, 4]) == [0, 2]
    assert long_tracks([16, 1]) == [0]
    assert long_tracks([3, 1]) == [0]
    assert long_tracks([1, 1]) == [0, 1]
    assert long_tracks([0, 0]) == []
    assert long_tracks([]) == []


def test_a_video_takes_its_most_suspicious_long_track() -> None:
    faces = track(0, [0.1] * 16) + track(1, [0.95] * 8, start=4) + track(2, [0.99], start=2)
    answer = video_verdict(faces, TIMES_S, 15.5, named())
    assert (answer.verdict, answer.evidence) == ("fake", "very strong")
    assert answer.p_fake == pytest.approx(0.95)
    assert [t.long for t in answer.tracks] == [True, True, False]
    assert (answer.tracks[1].start_s, answer.tracks[1].end_s, answer.tracks[1].frames) == (4.0, 11.0, 8)
    assert answer.reasons[0].startswith(
        "the most suspicious of 2 tracks of faces, judged in 8 of 16 sampled frames (4.0 to 11.0 s), scores 0.950"
    )


def test_the_deciding_track_says_which_kind_of_fake() -> None:
    def told(faces: list[VideoFaceVerdict], swap: float) -> list[VideoFaceVerdict]:
        shares = {"synthetic": round(1 - swap, 4), "swap": swap}
        return [face.model_copy(update={"kind_of_fake": shares}) for face in faces]

    faces = told(track(0, [0.1] * 8), 0.1) + told(track(1, [0.95] * 4), 0.9) + told(track(1, [0.95] * 4, 4), 0.7)
    answer = video_verdict(faces, TIMES_S, 16.0, named())
    assert answer.kind_of_fake == answer.tracks[1].kind_of_fake == {"synthetic": 0.2, "swap": 0.8}
    assert answer.tracks[0].kind_of_fake == {"synthetic": 0.9, "swap": 0.1}
    assert "it looks like a face swap rather than a generated face (0.80)" in answer.reasons


def test_the_timeline_has_a_row_for_every_sampled_frame() -> None:
    answer = video_verdict(track(0, [0.2, 0.9, None]), TIMES_S, 15.5, named())
    assert [m.t_s for m in answer.timeline] == TIMES_S
    assert [(m.p_fake, m.faces) for m in answer.timeline[:4]] == [(0.2, 1), (0.9, 1), (None, 1), (None, 0)]


def test_a_video_without_faces_is_inconclusive_and_says_so() -> None:
    answer = video_verdict([], TIMES_S, 15.5, named())
    assert (answer.verdict, answer.p_fake, answer.evidence, answer.tracks) == ("inconclusive", None, None, ())
    assert answer.reasons == ("no face was found in 16 sampled frames, and this model judges faces only",)


def test_a_video_whose_faces_cannot_be_judged_is_inconclusive_and_says_why() -> None:
    answer = video_verdict(track(0, [None, None]), TIMES_S, 15.5, named())
    assert (answer.verdict, answer.p_fake) == ("inconclusive", None)
    assert answer.reasons == ("2 of 2 faces not judged: too small",)


def test_the_drawn_warning_comes_first_in_videos_too() -> None:
    assert video_verdict([], TIMES_S, 15.5, named("drawn sample")).reasons[0] == DRAWN_WARNING


def test_a_clip_of_which_only_the_start_was_sampled_says_so() -> None:
    answer = video_verdict(track(0, [0.1] * 16), TIMES_S, 900.0, named(), sampled_s=600.0)
    assert answer.reasons[-1] == "only the first 600 of 900 s were looked at"
    assert answer.duration_s == 900.0
    assert "looked at" not in video_verdict([], TIMES_S, 15.5, named(), sampled_s=15.5).reasons[-1]
