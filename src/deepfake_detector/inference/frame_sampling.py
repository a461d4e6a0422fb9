"""A video file -> the frames that are analysed (time in s, face crops, colour histogram) and the shots they lie in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import InputTooLarge, UnreadableVideo
from deepfake_detector.inference.verdict import Shot
from deepfake_detector.media.face_alignment import FaceCrop
from deepfake_detector.media.image_stats import colour_histogram
from deepfake_detector.media.limits import VideoLimits
from deepfake_detector.media.video import Frame, VideoInfo, measure_duration_s, read_frames, sample_frames
from deepfake_detector.parallel import thread_map

# Share of the colours that two neighbouring frames do not have in common. In the eight clips of ../shared/data, about
# a second apart: at most 0.33 within a clip, at least 0.51 between clips.
MIN_COLOUR_CHANGE = 0.42
# A video whose last sampled frame lies more shares than this before the last requested second ends there.
MAX_MISSING_SHARES = 2
FEW_FRAMES_SHARE = 0.5  # of the planned frames; fewer are mentioned in the answer

FaceFinder = Callable[[NDArray[np.uint8]], list[FaceCrop]]


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """What is kept of an analysed frame; its pixels are not: sixteen frames of 4K are 400 MB."""

    t_s: float
    crops: Sequence[FaceCrop]
    colours: NDArray[np.float32]  # (512,)


@dataclass(frozen=True, eq=False)
class VideoSample:
    """The analysed frames of a video.

    Attributes:
        frames: in order of time.
        shots: that they lie in.
        info: of the video; with the measured duration where the header states a longer one.
        notes: one clause each on what was left out, for people; mostly none.
    """

    frames: Sequence[SampledFrame]
    shots: Sequence[Shot]
    info: VideoInfo
    notes: tuple[str, ...] = ()


def sample_video(
    path: Path, info: VideoInfo, count: int, limits: VideoLimits, find_faces: FaceFinder, threads: int
) -> VideoSample:
    """Analyse frames spread evenly over a video, then more frames of the shots that got only one.

    If the video ends long before its stated duration, the frames are spread again, over its real duration.

    Args:
        path: of the file.
        info: what `probe_video` says of it.
        count: frames of the first pass; the second adds at most half as many.
        limits: see `VideoLimits`.
        find_faces: finds and crops faces; called from several threads.
        threads: see `thread_map`.

    Raises:
        UnreadableVideo, InputTooLarge: see `read_frames`.
    """

    def analyse(frame: Frame) -> SampledFrame:
        return SampledFrame(frame.t_s, find_faces(frame.rgb), colour_histogram(frame.rgb))

    frames = list(thread_map(analyse, sample_frames(path, info, count, limits), threads))
    measured = _with_measured_duration(path, info, frames[-1].t_s, count, limits)
    notes: tuple[str, ...] = ()
    if measured != info:
        stated_s, measured_s = info.full_duration_s, measured.full_duration_s
        notes = (f"the file states {stated_s:.1f} s, but its pictures end after {measured_s:.1f} s",)
        info = measured
        frames = list(thread_map(analyse, sample_frames(path, info, count, limits), threads))
    notes += _describe_left_out(info, len(frames), count)
    shots = _shots_of(frames, info)
    if more_s := resampling_times([frame.t_s for frame in frames], shots)[: count // 2]:
        more: list[SampledFrame] = []
        with suppress(
            UnreadableVideo, InputTooLarge
        ):  # truncated there, or too far from a keyframe: keep the first pass
            more = list(thread_map(analyse, read_frames(path, more_s, limits), threads))
        frames = sorted({frame.t_s: frame for frame in [*frames, *more]}.values(), key=lambda frame: frame.t_s)
        shots = _shots_of(frames, info)
    return VideoSample(frames, shots, info, notes)


def detect_shots(times_s: Sequence[float], colours: Sequence[NDArray[np.float32]], duration_s: float) -> list[Shot]:
    """Split a video where the colours change; a cut is assumed half-way between the two frames that differ.

    Args:
        times_s: of the frames, rising.
        colours: (512,) each, see `media.image_stats.colour_histogram`.
        duration_s: of the video.
    """
    pairs = zip(times_s, times_s[1:], colours, colours[1:], strict=False)
    cuts_s = [
        (before_s + after_s) / 2
        for before_s, after_s, old, new in pairs
        if 1 - np.minimum(old, new).sum() > MIN_COLOUR_CHANGE
    ]
    ends_s = [*cuts_s, max(duration_s, *times_s, 0.0)]
    return (
        [Shot(start_s=start, end_s=end) for start, end in zip([0.0, *cuts_s], ends_s, strict=True)] if times_s else []
    )


def shot_index(t_s: float, shots: Sequence[Shot]) -> int:
    """Index of the shot that contains a time."""
    return sum(shot.end_s < t_s for shot in shots[:-1])


def resampling_times(times_s: Sequence[float], shots: Sequence[Shot]) -> list[float]:
    """Times of more frames: before and after the only frame of a shot, because one frame is not enough to decide.

    Args:
        times_s: of the frames.
        shots: the shots they lie in.
    """
    if len(shots) < 2:
        return []
    inside = [[t_s for t_s in times_s if shot_index(t_s, shots) == number] for number in range(len(shots))]
    single = [(shot, times[0]) for shot, times in zip(shots, inside, strict=True) if len(times) == 1]
    return [(edge_s + t_s) / 2 for shot, t_s in single for edge_s in (shot.start_s, shot.end_s)]


def _with_measured_duration(path: Path, info: VideoInfo, last_s: float, count: int, limits: VideoLimits) -> VideoInfo:
    """The info with the duration of the packets, if the last sampled frame lies far before the stated end."""
    share_s = info.duration_s / count
    if info.duration_s - last_s <= (MAX_MISSING_SHARES + 0.5) * share_s:
        return info
    measured_s = measure_duration_s(path, limits)
    if not 0 < measured_s < info.duration_s - share_s:
        return info
    return replace(info, duration_s=measured_s, full_duration_s=measured_s)


def _describe_left_out(info: VideoInfo, frames: int, count: int) -> tuple[str, ...]:
    """Clauses about missing frames and other video streams."""
    notes = []
    existing = min(count, int(info.duration_s * info.fps)) if info.fps else count
    if frames < FEW_FRAMES_SHARE * existing:
        notes.append(
            f"only {frames} of {count} planned frames were found: the file is damaged or incomplete, or shows stills"
        )
    if info.other_streams:
        listed = ", ".join(info.other_streams)
        notes.append(f"{len(info.other_streams)} other video stream(s) of the file were not analysed ({listed})")
    return tuple(notes)


def _shots_of(frames: Sequence[SampledFrame], info: VideoInfo) -> list[Shot]:
    return detect_shots([frame.t_s for frame in frames], [frame.colours for frame in frames], info.duration_s)
