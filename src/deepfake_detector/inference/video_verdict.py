"""Faces of a video, each with its track and score -> a score per track, the verdict and its evidence frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deepfake_detector.inference.decision import (
    compare_to_thresholds,
    decide,
    describe_kind,
    describe_turned_faces,
    describe_unscored_faces,
    evidence_level,
    mean_kind_shares,
    model_warnings,
)
from deepfake_detector.inference.verdict import (
    EvidenceFrame,
    Label,
    ModelInfo,
    TimelinePoint,
    TrackVerdict,
    VideoFaceVerdict,
    VideoVerdict,
)

MAX_EVIDENCE_FRAMES = 3
MIN_APART = 0.05  # of the video, between two evidence frames: neighbouring frames show the same


@dataclass(frozen=True)
class FusionRule:
    """How the scores of a track become one score: a mean, weighted by the size of the face.

    The DFDC winner's mean of the confidently fake frames was tried first: it raises real videos whose face is small in
    a third of the frames. A mean of logits moves videos beyond thresholds that were set on single pictures.
    """

    full_weight_px: float = 128.0  # side of a face; a smaller one counts by its area, as its crop is enlarged
    pooled_frames: float = 2.0  # weight of the mean of the whole video in each track: few frames say little
    long_share: float = 0.25  # of the frames of the longest track; a shorter track, often no face, decides nothing


DEFAULT_RULE = FusionRule()


def video_verdict(
    faces: Sequence[VideoFaceVerdict],
    times_s: Sequence[float],
    duration_s: float,
    model: ModelInfo,
    rule: FusionRule = DEFAULT_RULE,
    sampled_s: float | None = None,
    notes: Sequence[str] = (),
) -> VideoVerdict:
    """Decide about a video by its long track with the highest score.

    Args:
        faces: all faces of all sampled frames, each with its track.
        times_s: of the sampled frames.
        duration_s: of the video.
        model: that scored the faces.
        rule: how the scores of a track become one.
        sampled_s: how much of the video was sampled, from its start; None for all of it.
        notes: what was left out of the video; the last reasons.
    """
    tracks = _tracks(faces, rule)
    eligible = [number for number, track in enumerate(tracks) if track.long and track.p_fake is not None]
    number = max(eligible, key=lambda index: tracks[index].p_fake or 0.0, default=None)
    deciding = None if number is None else tracks[number]
    p_fake = None if deciding is None else deciding.p_fake
    verdict = decide(p_fake, model.thresholds)
    reasons = _reasons(faces, tracks, len(times_s), deciding, model)
    if sampled_s is not None and sampled_s < duration_s:
        reasons.append(f"only the first {sampled_s:.0f} of {duration_s:.0f} s were analysed")
    return VideoVerdict(
        verdict=verdict,
        p_fake=p_fake,
        evidence=evidence_level(verdict, p_fake),
        kind_of_fake=None if deciding is None else deciding.kind_of_fake,
        reasons=(*model_warnings(model), *reasons, *notes),
        duration_s=duration_s,
        faces=tuple(faces),
        timeline=tuple(_timeline_point(t_s, [face for face in faces if face.t_s == t_s]) for t_s in times_s),
        tracks=tuple(tracks),
        best_frames=select_evidence_frames(faces, number, verdict, duration_s),
        model=model,
    )


def fuse_scores(
    p_fakes: Sequence[float], weights: Sequence[float], clip_score: float, rule: FusionRule = DEFAULT_RULE
) -> float | None:
    """Scores of one face over time -> one score; None without scores.

    Args:
        p_fakes: 0 to 1.
        weights: of each, see `face_weight`.
        clip_score: `mean_clip_score`, which the track is pulled towards.
        rule: the numbers.
    """
    if not p_fakes:
        return None
    total = math.fsum(w * p for p, w in zip(p_fakes, weights, strict=True))
    return (total + rule.pooled_frames * clip_score) / (math.fsum(weights) + rule.pooled_frames)


def face_weight(face: VideoFaceVerdict, rule: FusionRule = DEFAULT_RULE) -> float:
    """Weight of a face by its size, above 0 and up to 1."""
    side_px = max(min(face.box_px[2], face.box_px[3]), 1.0)
    return min(1.0, side_px / rule.full_weight_px) ** 2


def mean_clip_score(faces: Sequence[VideoFaceVerdict], rule: FusionRule = DEFAULT_RULE) -> float:
    """Weighted mean score of all scored faces of a video; 0.5 without any."""
    known = [(face.p_fake, face_weight(face, rule)) for face in faces if face.p_fake is not None]
    total = math.fsum(w for _, w in known)
    return math.fsum(p * w for p, w in known) / total if total else 0.5


def long_tracks(frames: Sequence[int], rule: FusionRule = DEFAULT_RULE) -> list[int]:
    """Scored frames of each track -> indices of the tracks that are long enough to decide the verdict."""
    longest = max(frames, default=0)
    minimum = max(rule.long_share * longest, min(2, longest), 1)
    return [index for index, count in enumerate(frames) if count >= minimum]


def select_evidence_frames(
    faces: Sequence[VideoFaceVerdict], track: int | None, verdict: Label, duration_s: float
) -> tuple[EvidenceFrame, ...]:
    """Choose the strongest evidence of the deciding track: its lowest scores for "real", else its highest.

    Args:
        faces: all faces of all sampled frames.
        track: index of the deciding track; None if there is none.
        verdict: that the evidence is to support.
        duration_s: of the video.
    """
    known = [
        (face.p_fake, index) for index, face in enumerate(faces) if face.track == track and face.p_fake is not None
    ]
    known.sort(key=lambda each: each[0] if verdict == "real" else -each[0])
    chosen: list[EvidenceFrame] = []
    for p_fake, index in known:
        t_s = faces[index].t_s
        if len(chosen) < MAX_EVIDENCE_FRAMES and all(
            abs(t_s - other.t_s) >= MIN_APART * duration_s for other in chosen
        ):
            chosen.append(EvidenceFrame(t_s=t_s, track=faces[index].track, face=index, p_fake=p_fake))
    return tuple(chosen)


def _scores(faces: Sequence[VideoFaceVerdict]) -> list[float]:
    return [face.p_fake for face in faces if face.p_fake is not None]


def _timeline_point(t_s: float, faces: Sequence[VideoFaceVerdict]) -> TimelinePoint:
    return TimelinePoint(t_s=t_s, p_fake=max(_scores(faces), default=None), faces=len(faces))


def _tracks(faces: Sequence[VideoFaceVerdict], rule: FusionRule) -> list[TrackVerdict]:
    count = max((face.track for face in faces), default=-1) + 1
    groups = [[face for face in faces if face.track == number] for number in range(count)]
    long = set(long_tracks([len(_scores(group)) for group in groups], rule))
    clip_score = mean_clip_score(faces, rule)
    return [
        TrackVerdict(
            start_s=min(face.t_s for face in group),
            end_s=max(face.t_s for face in group),
            frames=len(_scores(group)),
            p_fake=fuse_scores(
                _scores(group), [face_weight(f, rule) for f in group if f.p_fake is not None], clip_score, rule
            ),
            kind_of_fake=mean_kind_shares(
                [face.kind_of_fake for face in group], [face.p_fake or 0.0 for face in group]
            ),
            long=number in long,
        )
        for number, group in enumerate(groups)
    ]


def _reasons(
    faces: Sequence[VideoFaceVerdict],
    tracks: Sequence[TrackVerdict],
    frames: int,
    deciding: TrackVerdict | None,
    model: ModelInfo,
) -> list[str]:
    if not faces:
        return [f"no face was found in {frames} sampled frames, and this model scores faces only"]
    if deciding is None or deciding.p_fake is None:
        return describe_unscored_faces(faces)
    count = sum(track.long for track in tracks)
    which = "the face" if count == 1 else f"the most suspicious of {count} tracked faces"
    verdict = decide(deciding.p_fake, model.thresholds)
    comparison = compare_to_thresholds(verdict, deciding.p_fake, model.thresholds)
    reasons = [
        f"{which}, scored in {deciding.frames} of {frames} sampled frames "
        f"({deciding.start_s:.1f} to {deciding.end_s:.1f} s), scores {comparison}"
    ]
    if verdict == "fake":
        reasons += describe_kind(deciding.kind_of_fake)
    return [*reasons, *describe_unscored_faces(faces), *describe_turned_faces(faces)]
