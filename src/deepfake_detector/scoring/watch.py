"""Video file -> sampled frames with the faces cut out of them, in order of time, and the shots they lie in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import InputTooLarge, UnreadableVideo
from deepfake_detector.media.crop import Cut
from deepfake_detector.media.look import colours
from deepfake_detector.media.video import Frame, VideoInfo, read_frames, sample_frames
from deepfake_detector.media.video_limits import VideoLimits
from deepfake_detector.scoring.overlap import overlapped
from deepfake_detector.scoring.shots import second_look, shots_of
from deepfake_detector.scoring.verdict import Shot

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

    seen = list(overlapped(see, sample_frames(path, info, count, limits), threads))
    shots = _shots(seen, info)
    if again_s := second_look([each.t_s for each in seen], shots)[: count // 2]:
        more: list[Seen] = []
        with suppress(UnreadableVideo, InputTooLarge):  # cut short there, or too far from a keyframe: the rest is seen
            more = list(overlapped(see, read_frames(path, again_s, limits), threads))
        seen = sorted({each.t_s: each for each in [*seen, *more]}.values(), key=lambda each: each.t_s)
        shots = _shots(seen, info)
    return seen, shots


def _shots(seen: Sequence[Seen], info: VideoInfo) -> list[Shot]:
    return shots_of([each.t_s for each in seen], [each.colours for each in seen], info.duration_s)
