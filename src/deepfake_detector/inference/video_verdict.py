"""Faces of a video, each with its track and score -> a score per track, the verdict and its evidence frames."""

from __future__ import annotations

from collections.abc import Sequence

from deepfake_detector.inference.decision import (
    NO_FACE,
    compare_to_thresholds,
    decide,
    describe_coverage,
    describe_kind,
    describe_turned_faces,
    describe_unscored_faces,
    evidence_level,
    mean_kind_shares,
    model_warnings,
    without_kind_if_real,
)
from deepfake_detector.inference.track_features import (
    DEFAULT_RULE,
    FusionRule,
    calibrated_score,
    frame_features,
    long_tracks,
    track_features,
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
from deepfake_detector.model.bundle_contract import MediumCoverage, Thresholds, VideoCalibration

MAX_EVIDENCE_FRAMES = 3
MIN_APART = 0.05  # of the video, between two evidence frames: neighbouring frames show the same


def video_verdict(
    faces: Sequence[VideoFaceVerdict],
    times_s: Sequence[float],
    duration_s: float,
    model: ModelInfo,
    calibration: VideoCalibration,
    rule: FusionRule = DEFAULT_RULE,
    sampled_s: float | None = None,
    notes: Sequence[str] = (),
    coverage: MediumCoverage | None = None,
) -> VideoVerdict:
    """Decide about a video by its long track with the highest score.

    With several long tracks the threshold for "fake" is higher, see `VideoCalibration.for_tracks`.

    Args:
        faces: all faces of all sampled frames, each with its track.
        times_s: of the sampled frames.
        duration_s: of the video.
        model: that scored the faces; its thresholds are those of single faces.
        calibration: of videos, from the model's contract.
        rule: how the scores of a track become one.
        sampled_s: how much of the video was sampled, from its start; None for all of it.
        notes: what was left out of the video; the last reasons.
        coverage: of videos, as measured; None if it was not.
    """
    tracks = _tracks(faces, calibration, rule)
    thresholds = calibration.for_tracks(sum(track.long for track in tracks))
    tracks = [without_kind_if_real(track, thresholds) for track in tracks]
    faces = [without_kind_if_real(face, model.thresholds) for face in faces]
    eligible = [number for number, track in enumerate(tracks) if track.long and track.p_fake is not None]
    number = max(eligible, key=lambda index: tracks[index].p_fake or 0.0, default=None)
    deciding = None if number is None else tracks[number]
    p_fake = None if deciding is None else deciding.p_fake
    verdict = decide(p_fake, thresholds)
    reasons = _reasons(faces, tracks, len(times_s), deciding, thresholds)
    if p_fake is not None:
        reasons += describe_coverage(coverage, "video")
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
        thresholds=thresholds,
        model=model,
    )


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


def _tracks(faces: Sequence[VideoFaceVerdict], calibration: VideoCalibration, rule: FusionRule) -> list[TrackVerdict]:
    count = max((face.track for face in faces), default=-1) + 1
    groups = [[face for face in faces if face.track == number] for number in range(count)]
    long = set(long_tracks([len(_scores(group)) for group in groups], rule))
    whole = frame_features(_scores(faces), _sides_px(faces), rule) if _scores(faces) else None
    return [
        TrackVerdict(
            start_s=min(face.t_s for face in group),
            end_s=max(face.t_s for face in group),
            frames=len(_scores(group)),
            p_fake=calibrated_score(track_features(_scores(group), _sides_px(group), whole, rule), calibration)
            if whole is not None and _scores(group)
            else None,
            kind_of_fake=mean_kind_shares(
                [face.kind_of_fake for face in group], [face.p_fake or 0.0 for face in group]
            ),
            long=number in long,
        )
        for number, group in enumerate(groups)
    ]


def _sides_px(faces: Sequence[VideoFaceVerdict]) -> list[float]:
    """Shorter sides of the scored faces."""
    return [min(face.box_px[2], face.box_px[3]) for face in faces if face.p_fake is not None]


def _reasons(
    faces: Sequence[VideoFaceVerdict],
    tracks: Sequence[TrackVerdict],
    frames: int,
    deciding: TrackVerdict | None,
    thresholds: Thresholds,
) -> list[str]:
    if not faces:
        return [f"in {frames} sampled frames {NO_FACE}, and this model scores faces only"]
    if deciding is None or deciding.p_fake is None:
        return describe_unscored_faces(faces)
    count = sum(track.long for track in tracks)
    which = "the face" if count == 1 else f"the most suspicious of {count} tracked faces"
    verdict = decide(deciding.p_fake, thresholds)
    comparison = compare_to_thresholds(verdict, deciding.p_fake, thresholds)
    reasons = [
        f"{which}, scored in {deciding.frames} of {frames} sampled frames "
        f"({deciding.start_s:.1f} to {deciding.end_s:.1f} s), scores {comparison}"
    ]
    if verdict == "fake":
        reasons += describe_kind(deciding.kind_of_fake)
    return [*reasons, *describe_unscored_faces(faces), *describe_turned_faces(faces)]
