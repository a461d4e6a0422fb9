"""Faces of a clip, each with its track, and the verdict -> the few that speak most clearly for it, at other moments."""

from __future__ import annotations

from collections.abc import Sequence

from deepfake_detector.scoring.verdict import Answer, BestFrame, VideoFaceVerdict

MOST = 3
APART = 0.05  # of the clip, between two of them: neighbouring frames show the same


def best_frames(
    faces: Sequence[VideoFaceVerdict], track: int | None, verdict: Answer, duration_s: float
) -> tuple[BestFrame, ...]:
    """Choose the strongest evidence: the lowest scores for "real", else the highest, of the track that decided.

    Args:
        faces: all faces of all sampled frames.
        track: the one that decided; None when none could.
        verdict: what the evidence is to speak for.
        duration_s: of the clip.
    """
    known = [
        (face.p_fake, place) for place, face in enumerate(faces) if face.track == track and face.p_fake is not None
    ]
    known.sort(key=lambda each: each[0] if verdict == "real" else -each[0])
    chosen: list[BestFrame] = []
    for p_fake, place in known:
        t_s = faces[place].t_s
        if len(chosen) < MOST and all(abs(t_s - other.t_s) >= APART * duration_s for other in chosen):
            chosen.append(BestFrame(t_s=t_s, track=faces[place].track, face=place, p_fake=p_fake))
    return tuple(chosen)
