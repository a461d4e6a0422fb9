"""Sampled frames of a clip (seconds, shares of colours) -> the shots they lie in, and where to look twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import InputTooLarge, UnreadableVideo
from deepfake_detector.inference.verdict import Shot
from deepfake_detector.media.face_alignment import Cut
from deepfake_detector.media.image_stats import colours
from deepfake_detector.media.video import Frame, VideoInfo, read_frames, sample_frames
from deepfake_detector.media.video_limits import VideoLimits
from deepfake_detector.parallel import thread_map

# Share of the colours that two neighbouring frames do not have in common. In the eight clips of ../shared/data, about
# a second apart: at most 0.33 within a clip, at least 0.51 between clips.
CUT = 0.42


def shots_of(times_s: Sequence[float], colours: Sequence[NDArray[np.float32]], duration_s: float) -> list[Shot]:
    """Cut a clip where the colours change; a cut lies half-way between the frames it was seen at.

    Args:
        times_s: of the frames, rising.
        colours: (512,) each, see `media.look.colours`.
        duration_s: of the clip.
    """
    pairs = zip(times_s, times_s[1:], colours, colours[1:], strict=False)
    cuts_s = [(before + after) / 2 for before, after, old, new in pairs if 1 - np.minimum(old, new).sum() > CUT]
    ends_s = [*cuts_s, max(duration_s, *times_s, 0.0)]
    return (
        [Shot(start_s=start, end_s=end) for start, end in zip([0.0, *cuts_s], ends_s, strict=True)] if times_s else []
    )


def shot_at(t_s: float, shots: Sequence[Shot]) -> int:
    """Place of the shot that a second lies in."""
    return sum(shot.end_s < t_s for shot in shots[:-1])


def second_look(times_s: Sequence[float], shots: Sequence[Shot]) -> list[float]:
    """Seconds at which to look again: before and after the only frame of a shot, as one frame decides nothing.

    Args:
        times_s: of the frames.
        shots: theirs.
    """
    if len(shots) < 2:
        return []
    inside = [[t_s for t_s in times_s if shot_at(t_s, shots) == number] for number in range(len(shots))]
    alone = [(shot, seen[0]) for shot, seen in zip(shots, inside, strict=True) if len(seen) == 1]
    return [(edge_s + t_s) / 2 for shot, t_s in alone for edge_s in (shot.start_s, shot.end_s)]


Look = Callable[[NDArray[np.uint8]], list[Cut]]


@dataclass(frozen=True, eq=False)
class Seen:
    """What is kept of a frame once it was looked at; its pixels are not: sixteen of 4K are 400 MB."""

    t_s: float
    cuts: Sequence[Cut]
    colours: NDArray[np.float32]  # (512,)


def watch(
    path: Path, info: VideoInfo, count: int, limits: VideoLimits, look: Look, threads: int
) -> tuple[list[Seen], list[Shot]]:
    """Look at frames spread over a video, and again at shots of which only one frame was seen.

    Args:
        path: of the file.
        info: what `probe_video` says of it.
        count: frames of the first look; the second adds half as many at most.
        limits: see `VideoLimits`.
        look: finds and cuts out faces; called from several threads.
        threads: see `overlapped`.

    Raises:
        UnreadableVideo, InputTooLarge: see `read_frames`.
    """

    def see(frame: Frame) -> Seen:
        return Seen(frame.t_s, look(frame.rgb), colours(frame.rgb))

    seen = list(thread_map(see, sample_frames(path, info, count, limits), threads))
    shots = _shots(seen, info)
    if again_s := second_look([each.t_s for each in seen], shots)[: count // 2]:
        more: list[Seen] = []
        with suppress(UnreadableVideo, InputTooLarge):  # cut short there, or too far from a keyframe: the rest is seen
            more = list(thread_map(see, read_frames(path, again_s, limits), threads))
        seen = sorted({each.t_s: each for each in [*seen, *more]}.values(), key=lambda each: each.t_s)
        shots = _shots(seen, info)
    return seen, shots


def _shots(seen: Sequence[Seen], info: VideoInfo) -> list[Shot]:
    return shots_of([each.t_s for each in seen], [each.colours for each in seen], info.duration_s)
