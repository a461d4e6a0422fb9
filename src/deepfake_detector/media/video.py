"""Video file -> frames at chosen seconds, uint8 (height, width, 3) RGB, upright; by seeking, not by decoding it all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from deepfake_detector.errors import UnreadableVideo
from deepfake_detector.media.orientation import Turn, turn_of
from deepfake_detector.media.video_limits import USUAL, VideoLimits
from deepfake_detector.media.video_stream import FORMATS_HINT, Playhead, opened

MAX_PIXEL_ASPECT = 4.0  # of one stored pixel; beyond it the header lies


@dataclass(frozen=True)
class VideoInfo:
    """What is known before frames are chosen.

    Attributes:
        duration_s: the part that is sampled: the whole, or its first `VideoLimits.max_duration_s`.
        width_px, height_px: of the frames that `read_frames` gives, so after rotation.
        fps: mean frames per second, 0 if unknown.
        codec: libav's name, for example "h264".
        rotation_deg: 0, 90, 180 or 270 anticlockwise, by which stored frames are turned.
        full_duration_s: the whole video.
    """

    duration_s: float
    width_px: int
    height_px: int
    fps: float
    codec: str
    rotation_deg: int
    full_duration_s: float


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame: when it is shown, in seconds from the first, and its pixels uint8 (height, width, 3) RGB."""

    t_s: float
    rgb: NDArray[np.uint8]


def probe_video(path: Path, limits: VideoLimits = USUAL) -> VideoInfo:
    """Read the header and the first frame, which carries the rotation.

    A file that does not state its duration (GIF, recorded WebM) has its packets counted, without decoding.

    Raises:
        UnreadableVideo: not a video of a known container, no picture track, or no frame that decodes.
        InputTooLarge: over a limit on bytes or pixels.
    """
    with opened(path, limits.max_bytes, limits.max_pixels) as track:
        first = next(track.frames(), None)
        if first is None:
            raise UnreadableVideo(f"no frame of {path.name} can be decoded", FORMATS_HINT)
        turn = _turn(first)
        full_duration_s = track.stated_duration_s or _counted_duration_s(path, limits)
        width_px, height_px = _square_size(first, track.pixel_aspect)
        return VideoInfo(
            duration_s=min(full_duration_s, limits.max_duration_s),
            width_px=height_px if turn.transposed else width_px,
            height_px=width_px if turn.transposed else height_px,
            fps=track.fps,
            codec=track.codec,
            rotation_deg=turn.anticlockwise_deg,
            full_duration_s=full_duration_s,
        )


def _counted_duration_s(path: Path, limits: VideoLimits) -> float:
    with opened(path, limits.max_bytes, limits.max_pixels) as track:
        return track.end_s()


def sample_times(info: VideoInfo, count: int) -> tuple[float, ...]:
    """Spread `count` seconds evenly over `info.duration_s`, each in the middle of its share."""
    return tuple((i + 0.5) * info.duration_s / count for i in range(count))


def sample_frames(path: Path, info: VideoInfo, count: int, limits: VideoLimits = USUAL) -> Iterator[Frame]:
    """Decode one frame of each of `count` equal shares of a video: a keyframe where it has one, else from its middle.

    Args:
        path: a video file; its name is not trusted.
        info: what `probe_video` says of it.
        count: frames at most.
        limits: see `VideoLimits`.

    Raises:
        UnreadableVideo, InputTooLarge: as `read_frames`.
    """
    yield from read_frames(path, sample_times(info, count), limits, slack_s=info.duration_s / count / 2)


def read_frames(
    path: Path, times_s: Sequence[float], limits: VideoLimits = USUAL, slack_s: float = 0.0
) -> Iterator[Frame]:
    """Decode the frames shown at chosen seconds.

    A time past the end gives the last frame, one before the start the first. Times that fall on one frame give it
    once, so there may be fewer frames than times; damaged frames are left out. Frames come in order of time, whatever
    the order of `times_s`.

    Args:
        path: a video file; its name is not trusted.
        times_s: seconds from the first frame.
        limits: see `VideoLimits`.
        slack_s: how far a frame may lie from its second if that spares decoding; see `Playhead`.

    Raises:
        UnreadableVideo: as `probe_video`, or none of the wanted frames can be decoded.
        InputTooLarge: over a limit. Both are raised when the first frame is asked for, or later.
    """
    shown_s: float | None = None
    with opened(path, limits.max_bytes, limits.max_pixels) as track:
        playhead = Playhead(track, limits.max_decoded, slack_s)
        for time_s in sorted(times_s):
            shown = playhead.at(time_s)
            if shown is not None and shown.t_s != shown_s:
                shown_s = shown.t_s
                yield Frame(shown.t_s, _rgb(shown.frame, track.pixel_aspect))
    if shown_s is None and len(times_s):
        raise UnreadableVideo(f"none of the frames wanted from {path.name} can be decoded", FORMATS_HINT)


def _turn(frame: VideoFrame) -> Turn:
    side_data = cast(SideDataContainer, frame.side_data)  # PyAV's own types know motion vectors only
    matrix = next((data for data in side_data if data.type == SideDataType.DISPLAYMATRIX), None)
    return Turn() if matrix is None else turn_of(np.frombuffer(bytes(matrix), np.int32).tolist())


def _square_size(frame: VideoFrame, pixel_aspect: float) -> tuple[int, int]:
    """Width and height in px with square pixels, as DV, DVD and HDV do not store them; only ever enlarged."""
    aspect = pixel_aspect if 1 / MAX_PIXEL_ASPECT <= pixel_aspect <= MAX_PIXEL_ASPECT else 1.0
    return round(frame.width * max(aspect, 1.0)), round(frame.height * max(1.0 / aspect, 1.0))


def _rgb(frame: VideoFrame, pixel_aspect: float) -> NDArray[np.uint8]:
    width_px, height_px = _square_size(frame, pixel_aspect)
    plain = frame.reformat(width=width_px, height=height_px, format="rgb24", threads=1)
    return _turn(frame).apply(np.asarray(plain.to_ndarray(), np.uint8))
