"""Video file -> frames at chosen seconds, uint8 (height, width, 3) RGB, upright; it seeks instead of decoding all."""

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
from deepfake_detector.media.limits import DEFAULT_VIDEO_LIMITS, VideoLimits
from deepfake_detector.media.orientation import Orientation, orientation_from_matrix
from deepfake_detector.media.video_stream import FORMATS_HINT, FrameSeeker, open_video

MAX_PIXEL_ASPECT = 4.0  # a header that declares more is wrong


@dataclass(frozen=True)
class VideoInfo:
    """What the header and the first frame say.

    Attributes:
        duration_s: the part that is sampled: all of it, or the first `VideoLimits.max_duration_s`.
        width_px, height_px: of the frames that `read_frames` gives, so after rotation.
        fps: mean frames per second, 0 if unknown.
        codec: libav's name, for example "h264".
        rotation_deg: 0, 90, 180 or 270 anticlockwise, by which stored frames are rotated.
        full_duration_s: the whole video.
        other_streams: size of each video stream of the file that is not read, as "320 x 240".
    """

    duration_s: float
    width_px: int
    height_px: int
    fps: float
    codec: str
    rotation_deg: int
    full_duration_s: float
    other_streams: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame.

    Attributes:
        t_s: when it is displayed, in seconds from the first frame.
        rgb: uint8 (height, width, 3).
    """

    t_s: float
    rgb: NDArray[np.uint8]


def probe_video(path: Path, limits: VideoLimits = DEFAULT_VIDEO_LIMITS) -> VideoInfo:
    """Read the header and the first frame, which holds the rotation.

    A file that does not state its duration (GIF, recorded WebM) has its packets read, without decoding.

    Raises:
        UnreadableVideo: not a video of a known container, no video stream, or no frame that decodes.
        InputTooLarge: over a limit on bytes or pixels.
    """
    with open_video(path, limits.max_bytes, limits.max_pixels) as stream:
        first = next(stream.frames(), None)
        if first is None:
            raise UnreadableVideo(f"no frame of {path.name} can be decoded", FORMATS_HINT)
        orientation = _orientation(first)
        full_duration_s = stream.stated_duration_s or measure_duration_s(path, limits)
        width_px, height_px = _square_pixel_size(first, stream.pixel_aspect)
        return VideoInfo(
            duration_s=min(full_duration_s, limits.max_duration_s),
            width_px=height_px if orientation.transposed else width_px,
            height_px=width_px if orientation.transposed else height_px,
            fps=stream.fps,
            codec=stream.codec,
            rotation_deg=orientation.anticlockwise_deg,
            full_duration_s=full_duration_s,
            other_streams=stream.others,
        )


def sample_times(info: VideoInfo, count: int) -> tuple[float, ...]:
    """The midpoints of `count` equal shares of `info.duration_s`, in seconds."""
    return tuple((i + 0.5) * info.duration_s / count for i in range(count))


def sample_frames(
    path: Path, info: VideoInfo, count: int, limits: VideoLimits = DEFAULT_VIDEO_LIMITS
) -> Iterator[Frame]:
    """Decode one frame of each of `count` equal shares of a video: a keyframe if it has one, else its middle frame.

    Args:
        path: a video file; its name is not trusted.
        info: as `probe_video` gives it.
        count: frames at most.
        limits: see `VideoLimits`.

    Raises:
        UnreadableVideo, InputTooLarge: as `read_frames`.
    """
    yield from read_frames(path, sample_times(info, count), limits, slack_s=info.duration_s / count / 2)


def read_frames(
    path: Path, times_s: Sequence[float], limits: VideoLimits = DEFAULT_VIDEO_LIMITS, slack_s: float = 0.0
) -> Iterator[Frame]:
    """Decode the frames displayed at chosen seconds, in order of time.

    A time past the end gives the last frame, one before the start the first. Times that fall on one frame give it
    once, so there may be fewer frames than times. Damaged frames are skipped.

    Args:
        path: a video file; its name is not trusted.
        times_s: seconds from the first frame, in any order.
        limits: see `VideoLimits`.
        slack_s: how far a frame may lie from its second if that saves decoding; see `FrameSeeker`.

    Raises:
        UnreadableVideo: as `probe_video`, or none of the requested frames can be decoded.
        InputTooLarge: over a limit. Both are raised when the first frame is requested, or later.
    """
    last_s: float | None = None
    with open_video(path, limits.max_bytes, limits.max_pixels) as stream:
        seeker = FrameSeeker(stream, limits.max_decoded, slack_s)
        for time_s in sorted(times_s):
            timed = seeker.frame_at(time_s)
            if timed is not None and timed.t_s != last_s:
                last_s = timed.t_s
                yield Frame(timed.t_s, _to_rgb(timed.frame, stream.pixel_aspect))
    if last_s is None and len(times_s):
        raise UnreadableVideo(f"none of the requested frames of {path.name} can be decoded", FORMATS_HINT)


def measure_duration_s(path: Path, limits: VideoLimits = DEFAULT_VIDEO_LIMITS) -> float:
    """The end of the last packet of the video stream, in seconds from the first frame; decodes nothing.

    Raises:
        UnreadableVideo, InputTooLarge: see `probe_video`.
    """
    with open_video(path, limits.max_bytes, limits.max_pixels) as stream:
        return stream.end_s()


def _orientation(frame: VideoFrame) -> Orientation:
    side_data = cast(SideDataContainer, frame.side_data)  # PyAV's own types know motion vectors only
    matrix = next((data for data in side_data if data.type == SideDataType.DISPLAYMATRIX), None)
    if matrix is None:
        return Orientation()
    return orientation_from_matrix(np.frombuffer(bytes(matrix), np.int32).tolist())


def _square_pixel_size(frame: VideoFrame, pixel_aspect: float) -> tuple[int, int]:
    """Width and height in px with square pixels, which DV, DVD and HDV do not have; neither side shrinks."""
    aspect = pixel_aspect if 1 / MAX_PIXEL_ASPECT <= pixel_aspect <= MAX_PIXEL_ASPECT else 1.0
    return round(frame.width * max(aspect, 1.0)), round(frame.height * max(1.0 / aspect, 1.0))


def _to_rgb(frame: VideoFrame, pixel_aspect: float) -> NDArray[np.uint8]:
    width_px, height_px = _square_pixel_size(frame, pixel_aspect)
    rgb_frame = frame.reformat(width=width_px, height=height_px, format="rgb24", threads=1)
    return _orientation(frame).apply(np.asarray(rgb_frame.to_ndarray(), np.uint8))
