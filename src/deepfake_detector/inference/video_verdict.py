"""Faces of a clip, each with its track, and the verdict -> the few that speak most clearly for it, at other moments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deepfake_detector.inference.decision import compare, decide, mean_shares, say_kind, unjudged, warnings, weigh
from deepfake_detector.inference.verdict import (
    Answer,
    BestFrame,
    ModelNamed,
    Moment,
    TrackVerdict,
    VideoFaceVerdict,
    VideoVerdict,
)

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


@dataclass(frozen=True)
class FuseRule:
    """How the scores of a face through time become one: their mean, weighted by how well the face was seen.

    The DFDC winner's mean of the confidently fake frames was tried first: it lifts real clips whose face is small in a
    third of the frames. A mean of logits pushes clips beyond the marks that were set on single pictures.
    """

    full_weight_px: float = 128.0  # side of a face; a smaller one counts as its area: its crop is enlarged, not seen
    pooled_frames: float = 2.0  # of weight that the mean of the whole clip has in each track: few frames say little
    long_share: float = 0.25  # of the longest track's frames: a shorter track, often a false face, decides nothing


RULE = FuseRule()


def fuse(p_fakes: Sequence[float], weights: Sequence[float], pooled: float, rule: FuseRule = RULE) -> float | None:
    """Scores of one face through time -> one score; None without scores.

    Args:
        p_fakes: 0 to 1.
        weights: of each, see `weight`.
        pooled: score that the track is drawn to, the mean of the whole clip.
        rule: the numbers.
    """
    if not p_fakes:
        return None
    total = math.fsum(w * p for p, w in zip(p_fakes, weights, strict=True))
    return (total + rule.pooled_frames * pooled) / (math.fsum(weights) + rule.pooled_frames)


def weight(face: VideoFaceVerdict, rule: FuseRule = RULE) -> float:
    """How much a face counts, above 0 and up to 1."""
    side_px = max(min(face.box_px[2], face.box_px[3]), 1.0)
    return min(1.0, side_px / rule.full_weight_px) ** 2


def pooled_score(faces: Sequence[VideoFaceVerdict], rule: FuseRule = RULE) -> float:
    """Weighted mean score of all judged faces of a clip; a half without any."""
    known = [(face.p_fake, weight(face, rule)) for face in faces if face.p_fake is not None]
    total = math.fsum(w for _, w in known)
    return math.fsum(p * w for p, w in known) / total if total else 0.5


def long_tracks(frames: Sequence[int], rule: FuseRule = RULE) -> list[int]:
    """Judged frames of each track -> places of the tracks that are long enough to decide."""
    longest = max(frames, default=0)
    least = max(rule.long_share * longest, min(2, longest), 1)
    return [place for place, count in enumerate(frames) if count >= least]


def video_verdict(
    faces: Sequence[VideoFaceVerdict],
    times_s: Sequence[float],
    duration_s: float,
    model: ModelNamed,
    rule: FuseRule = RULE,
    sampled_s: float | None = None,
) -> VideoVerdict:
    """Judge a video by its most suspicious long track.

    Args:
        faces: all faces of all sampled frames, each with its track.
        times_s: when the frames were taken.
        duration_s: of the clip.
        model: who judged.
        rule: how scores of a track become one.
        sampled_s: the part of the clip, from its start, that was looked at; None for the whole.
    """
    tracks = _tracks(faces, rule)
    judged = [number for number, track in enumerate(tracks) if track.long and track.p_fake is not None]
    deciding = max(judged, key=lambda number: tracks[number].p_fake or 0.0, default=None)
    decisive = None if deciding is None else tracks[deciding]
    p_fake = None if decisive is None else decisive.p_fake
    verdict = decide(p_fake, model.thresholds)
    reasons = _reasons(faces, tracks, len(times_s), decisive, model)
    if sampled_s is not None and sampled_s < duration_s:
        reasons.append(f"only the first {sampled_s:.0f} of {duration_s:.0f} s were looked at")
    return VideoVerdict(
        verdict=verdict,
        p_fake=p_fake,
        evidence=weigh(verdict, p_fake),
        kind_of_fake=None if decisive is None else decisive.kind_of_fake,
        reasons=(*warnings(model), *reasons),
        duration_s=duration_s,
        faces=tuple(faces),
        timeline=tuple(_moment(t_s, [f for f in faces if f.t_s == t_s]) for t_s in times_s),
        tracks=tuple(tracks),
        best_frames=best_frames(faces, deciding, verdict, duration_s),
        model=model,
    )


def _scores(faces: Sequence[VideoFaceVerdict]) -> list[float]:
    return [face.p_fake for face in faces if face.p_fake is not None]


def _moment(t_s: float, faces: Sequence[VideoFaceVerdict]) -> Moment:
    return Moment(t_s=t_s, p_fake=max(_scores(faces), default=None), faces=len(faces))


def _tracks(faces: Sequence[VideoFaceVerdict], rule: FuseRule) -> list[TrackVerdict]:
    count = max((face.track for face in faces), default=-1) + 1
    groups = [[face for face in faces if face.track == number] for number in range(count)]
    long = set(long_tracks([len(_scores(group)) for group in groups], rule))
    pooled = pooled_score(faces, rule)
    return [
        TrackVerdict(
            start_s=min(face.t_s for face in group),
            end_s=max(face.t_s for face in group),
            frames=len(_scores(group)),
            p_fake=fuse(_scores(group), [weight(f, rule) for f in group if f.p_fake is not None], pooled, rule),
            kind_of_fake=mean_shares([face.kind_of_fake for face in group], [face.p_fake or 0.0 for face in group]),
            long=number in long,
        )
        for number, group in enumerate(groups)
    ]


def _reasons(
    faces: Sequence[VideoFaceVerdict],
    tracks: Sequence[TrackVerdict],
    frames: int,
    track: TrackVerdict | None,
    model: ModelNamed,
) -> list[str]:
    if not faces:
        return [f"no face was found in {frames} sampled frames, and this model judges faces only"]
    if track is None or track.p_fake is None:
        return unjudged(faces)
    number = sum(t.long for t in tracks)
    which = "the face" if number == 1 else f"the most suspicious of {number} tracks of faces"
    verdict = decide(track.p_fake, model.thresholds)
    reasons = [
        f"{which}, judged in {track.frames} of {frames} sampled frames "
        f"({track.start_s:.1f} to {track.end_s:.1f} s), scores {compare(verdict, track.p_fake, model.thresholds)}"
    ]
    if verdict == "fake":
        reasons += say_kind(track.kind_of_fake)
    return [*reasons, *unjudged(faces)]
