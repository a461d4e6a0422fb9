from __future__ import annotations

import pytest

from deepfake_detector.inference.decision import DRAWN_WARNING
from deepfake_detector.inference.verdict import ModelNamed, VideoFaceVerdict
from deepfake_detector.inference.video_verdict import fuse, long_tracks, pooled_score, video_verdict, weight
from deepfake_detector.model.bundle import Thresholds

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
    assert fuse([], [], 0.0) is None


def test_a_track_alone_gets_its_mean() -> None:
    scores = [0.2, 0.5, 0.8]
    assert fuse(scores, [1, 1, 1], pooled_score(track(0, scores))) == pytest.approx(0.5)
    assert fuse([0.9] * 3, [1, 1, 1], pooled_score(track(0, [0.9] * 3))) == pytest.approx(0.9)


def test_small_faces_count_less() -> None:
    large, small = track(0, [0.5])[0], track(0, [0.5])[0].model_copy(update={"box_px": (0, 0, 64, 90)})
    assert (weight(large.model_copy(update={"box_px": (0, 0, 200, 300)})), weight(small)) == (1.0, 0.25)
    assert 0.25 < weight(large) < 1


def test_few_frames_of_small_faces_do_not_outvote_a_clip() -> None:
    """As in a real clip of a zooming camera: the far shots alone would score 0.87."""
    far = [face.model_copy(update={"box_px": (0, 0, 85, 85)}) for face in track(1, [0.87] * 5, start=9)]
    near = [face.model_copy(update={"box_px": (0, 0, 213, 213)}) for face in track(0, [0.15] * 9)]
    answer = video_verdict(far + near, TIMES_S, 15.5, named())
    assert answer.p_fake is not None
    assert 0.3 < answer.p_fake < 0.7
    alone = video_verdict([face.model_copy(update={"track": 0}) for face in far], TIMES_S, 15.5, named())
    assert alone.p_fake == pytest.approx(0.87)


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
    assert (answer.verdict, answer.evidence) == ("fake", "strong")
    assert answer.p_fake is not None
    assert 0.7 < answer.p_fake < 0.9  # drawn towards the rest of the clip
    assert [t.long for t in answer.tracks] == [True, True, False]
    assert (answer.tracks[1].start_s, answer.tracks[1].end_s, answer.tracks[1].frames) == (4.0, 11.0, 8)
    assert answer.reasons[0].startswith(
        "the most suspicious of 2 tracks of faces, judged in 8 of 16 sampled frames (4.0 to 11.0 s), scores 0.7"
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
