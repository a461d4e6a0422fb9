from __future__ import annotations

from deepfake_detector.inference.verdict import VideoFaceVerdict
from deepfake_detector.inference.video_verdict import best_frames


def seen(t_s: float, p_fake: float | None, track: int = 0) -> VideoFaceVerdict:
    points = tuple((0.0, 0.0) for _ in range(5))
    return VideoFaceVerdict(
        box_px=(0, 0, 90, 90), landmarks_px=points, score=0.9, p_fake=p_fake, problem=None, t_s=t_s, track=track
    )


def test_the_highest_scores_of_the_deciding_track_come_first() -> None:
    faces = [seen(1, 0.2), seen(1, 0.99, track=1), seen(5, 0.9), seen(9, 0.4), seen(13, 0.8), seen(15, None)]
    best = best_frames(faces, 0, "fake", 16.0)
    assert [(b.face, b.t_s, b.p_fake) for b in best] == [(2, 5, 0.9), (4, 13, 0.8), (3, 9, 0.4)]
    assert {b.track for b in best} == {0}


def test_real_is_shown_by_its_lowest_scores() -> None:
    faces = [seen(1, 0.2), seen(5, 0.05), seen(9, 0.1)]
    assert [b.p_fake for b in best_frames(faces, 0, "real", 16.0)] == [0.05, 0.1, 0.2]
    assert [b.p_fake for b in best_frames(faces, 0, "inconclusive", 16.0)] == [0.2, 0.1, 0.05]


def test_neighbouring_moments_are_one() -> None:
    faces = [seen(5.0, 0.9), seen(5.1, 0.89), seen(8, 0.7)]
    assert [b.t_s for b in best_frames(faces, 0, "fake", 16.0)] == [5.0, 8.0]


def test_nothing_decided_nothing_shown() -> None:
    assert best_frames([seen(1, None)], None, "inconclusive", 16.0) == ()
