"""A video file -> the frames that are analysed (time in s, face crops, colour histogram) and the shots they lie in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import InputTooLarge, UnreadableVideo
from deepfake_detector.inference.verdict import Shot
from deepfake_detector.media.face_alignment import FaceCrop
from deepfake_detector.media.image_stats import colour_histogram
from deepfake_detector.media.limits import VideoLimits
from deepfake_detector.media.video import Frame, VideoInfo, read_frames, sample_frames
from deepfake_detector.parallel import thread_map

# Share of the colours that two neighbouring frames do not have in common. In the eight clips of ../shared/data, about
# a second apart: at most 0.33 within a clip, at least 0.51 between clips.
MIN_COLOUR_CHANGE = 0.42

FaceFinder = Callable[[NDArray[np.uint8]], list[FaceCrop]]


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """What is kept of an analysed frame; its pixels are not: sixteen frames of 4K are 400 MB."""

    t_s: float
    crops: Sequence[FaceCrop]
    colours: NDArray[np.float32]  # (512,)


def sample_video(
    path: Path, info: VideoInfo, count: int, limits: VideoLimits, find_faces: FaceFinder, threads: int
) -> tuple[list[SampledFrame], list[Shot]]:
    """Analyse frames spread evenly over a video, then more frames of the shots that got only one.

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
    shots = _shots_of(frames, info)
    if more_s := resampling_times([frame.t_s for frame in frames], shots)[: count // 2]:
        more: list[SampledFrame] = []
        with suppress(
            UnreadableVideo, InputTooLarge
        ):  # truncated there, or too far from a keyframe: keep the first pass
            more = list(thread_map(analyse, read_frames(path, more_s, limits), threads))
        frames = sorted({frame.t_s: frame for frame in [*frames, *more]}.values(), key=lambda frame: frame.t_s)
        shots = _shots_of(frames, info)
    return frames, shots


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


def _shots_of(frames: Sequence[SampledFrame], info: VideoInfo) -> list[Shot]:
    return detect_shots([frame.t_s for frame in frames], [frame.colours for frame in frames], info.duration_s)
