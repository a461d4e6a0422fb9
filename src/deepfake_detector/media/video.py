"""Video file -> frames at chosen seconds, uint8 (height, width, 3) RGB, upright; by seeking, not by decoding it all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from deepfake_detector.errors import DetectorError, InputTooLarge, UnreadableVideo
from deepfake_detector.media.image import Turn

# libav's own demuxer names. Playlists and scripts (hls, dash, concat, sdp) stay out: they name other files and hosts.
CONTAINERS = "mov,mp4,matroska,webm,avi,gif,mpegts,mpeg,flv,ogg,asf"
FORMATS_HINT = "send an MP4, MOV, WebM, MKV, AVI, MPEG, FLV, Ogg, WMV or GIF file with a picture track"
MAX_THREADS = 4  # each holds a few frames: 64 cores and 4K would take gigabytes
WORTH_A_SEEK_S = 1.0  # where no index tells: a target nearer than this is reached by decoding on
MAX_PIXEL_ASPECT = 4.0  # of one stored pixel; beyond it the header lies
STEPS_BACK_S = (0.0, 1.0, 10.0)  # some containers seek by decoding time and land behind the target


@dataclass(frozen=True)
class VideoLimits:
    """What a video may cost.

    Attributes:
        max_bytes: size of the file.
        max_duration_s: a longer video is not refused; only this much from its start is sampled.
        max_pixels: of one frame; 4K with a tenth to spare.
        max_decoded: frames decoded on the way to the chosen seconds; only a long file without keyframes needs so many.
    """

    max_bytes: int = 200 * 2**20
    max_duration_s: float = 600.0
    max_pixels: int = 3840 * 2160 * 11 // 10
    max_decoded: int = 20_000


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


def probe_video(path: Path, limits: VideoLimits = VideoLimits()) -> VideoInfo:
    """Read the header and the first frame, which carries the rotation.

    A file that does not state its duration (GIF, recorded WebM) has its packets counted, without decoding.

    Raises:
        UnreadableVideo: not a video of a known container, no picture track, or no frame that decodes.
        InputTooLarge: over a limit on bytes or pixels.
    """
    with _opened(path, limits) as (container, stream):
        first = next(_decoded(container, stream), None)
        if first is None:
            raise UnreadableVideo(f"no frame of {path.name} can be decoded", FORMATS_HINT)
        turn = _turn(first)
        full_duration_s = _stated_duration_s(container, stream) or _counted_duration_s(path, limits)
        rate = stream.average_rate or stream.guessed_rate
        width_px, height_px = _square_size(first, stream)
        return VideoInfo(
            duration_s=min(full_duration_s, limits.max_duration_s),
            width_px=height_px if turn.transposed else width_px,
            height_px=width_px if turn.transposed else height_px,
            fps=float(rate) if rate else 0.0,
            codec=stream.codec_context.name,
            rotation_deg=_rotation_deg(turn),
            full_duration_s=full_duration_s,
        )


def sample_times(info: VideoInfo, count: int) -> tuple[float, ...]:
    """Spread `count` seconds evenly over `info.duration_s`, each in the middle of its share."""
    return tuple((i + 0.5) * info.duration_s / count for i in range(count))


def read_frames(path: Path, times_s: Sequence[float], limits: VideoLimits = VideoLimits()) -> Iterator[Frame]:
    """Decode the frames shown at chosen seconds.

    A time past the end gives the last frame, one before the start the first. Times that fall on one frame give it
    once, so there may be fewer frames than times; damaged frames are left out. Frames come in order of time, whatever
    the order of `times_s`.

    Args:
        path: a video file; its name is not trusted.
        times_s: seconds from the first frame.
        limits: see `VideoLimits`.

    Raises:
        UnreadableVideo: as `probe_video`, or none of the wanted frames can be decoded.
        InputTooLarge: over a limit. Both are raised when the first frame is asked for, or later.
    """
    shown_s: float | None = None
    with _opened(path, limits) as (container, stream):
        reader = _Reader(container, stream, limits)
        for time_s in sorted(times_s):
            shown = reader.at(time_s)
            if shown is not None and shown.t_s != shown_s:
                shown_s = shown.t_s
                yield Frame(shown.t_s, _rgb(shown.frame, stream))
    if shown_s is None and len(times_s):
        raise UnreadableVideo(f"none of the frames wanted from {path.name} can be decoded", FORMATS_HINT)


@dataclass(frozen=True, eq=False)
class _Shown:
    t_s: float
    frame: VideoFrame


class _Reader:
    """Goes forward through a video, by seeking where a keyframe shortens the way."""

    def __init__(self, container: InputContainer, stream: VideoStream, limits: VideoLimits) -> None:
        self._container, self._stream, self._limits = container, stream, limits
        self._worth_a_seek_s = WORTH_A_SEEK_S
        self._decoded = 0
        self._current: _Shown | None = None
        self._upcoming: _Shown | None = None
        self._frames = _decoded(container, stream)

    def at(self, time_s: float) -> _Shown | None:
        """Find the frame shown at a second that is not before the last one asked for; None if nothing decodes."""
        reached = self._upcoming or self._current
        position_s = reached.t_s if reached else 0.0
        if self._seek_helps(position_s, time_s):
            self._seek(position_s, time_s)
        while (upcoming := self._peek()) is not None:
            if upcoming.t_s > time_s and self._current is not None:
                break
            self._current, self._upcoming = upcoming, None
        return self._current

    def _seek_helps(self, position_s: float, time_s: float) -> bool:
        index = self._stream.index_entries
        if not 0 < self._stream.frames <= len(index):  # only a whole index knows the keyframes ahead
            return time_s - position_s > self._worth_a_seek_s
        at = index.search_timestamp(_ticks(self._stream, time_s))
        return at >= 0 and _seconds(self._stream, index[at].timestamp) > position_s

    def _seek(self, position_s: float, time_s: float) -> None:
        before = self._current
        for back_s in STEPS_BACK_S:
            if not self._jump(time_s - back_s):
                return  # this container cannot seek, and stays where it was: decode on
            landed = self._peek()
            if landed is not None and landed.t_s <= time_s:
                if landed.t_s <= position_s:
                    self._worth_a_seek_s *= 2  # keyframes lie further apart than thought
                return
        if landed is None and before is not None:
            self._current = before  # nothing decodes there: cut short, or past the end
        else:
            self._jump(0.0)

    def _jump(self, time_s: float) -> bool:
        try:
            self._container.seek(_ticks(self._stream, time_s), stream=self._stream)
        except av.FFmpegError:
            return False
        self._forget()
        return True

    def _forget(self) -> None:
        self._current = self._upcoming = None
        self._frames = _decoded(self._container, self._stream)

    def _peek(self) -> _Shown | None:
        if self._upcoming is None and (frame := next(self._frames, None)) is not None:
            self._decoded += 1
            if self._decoded > self._limits.max_decoded:
                raise InputTooLarge(
                    f"more than {self._limits.max_decoded:,} frames must be decoded to sample this video",
                    "cut it, or save it with more keyframes",
                )
            self._upcoming = _Shown(_seconds(self._stream, frame.pts or 0), frame)
        return self._upcoming


@contextmanager
def _opened(path: Path, limits: VideoLimits) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file for decoding and turn whatever libav raises, now or later, into this program's errors."""
    try:
        _check_bytes(path, limits)
        with path.open("rb") as file:
            # By number, not by name: libav guesses formats and addresses from names ("%03d.png", "concat:a|b"), and
            # with "fd" as the only protocol no content can make it open another file or a host.
            options = {"fd": str(file.fileno()), "protocol_whitelist": "fd", "format_whitelist": CONTAINERS}
            options["max_pixels"] = str(limits.max_pixels)
            with av.open("fd:", options=options, metadata_errors="replace") as container:
                yield container, _picture_track(container, path, limits)
    except DetectorError:
        raise
    except Exception as error:  # besides its own errors PyAV raises ValueError, IndexError and more on broken files
        reason = getattr(error, "strerror", None) or error
        raise UnreadableVideo(f"{path.name} is no video that can be read: {reason}", FORMATS_HINT) from error


def _check_bytes(path: Path, limits: VideoLimits) -> None:
    if not path.is_file():
        raise UnreadableVideo(f"there is no file {path}", "check the path")
    size = path.stat().st_size
    if size == 0:
        raise UnreadableVideo(f"{path.name} is empty: 0 bytes", FORMATS_HINT)
    if size > limits.max_bytes:
        raise InputTooLarge(f"{path.name} has {size:,} bytes, the limit is {limits.max_bytes:,}", "send a shorter clip")


def _picture_track(container: InputContainer, path: Path, limits: VideoLimits) -> VideoStream:
    moving = [track for track in container.streams.video if not track.disposition & Disposition.attached_pic]
    if not moving:
        raise UnreadableVideo(f"{path.name} has no picture track", FORMATS_HINT)
    stream = moving[0]
    context = stream.codec_context
    if context.width * context.height > limits.max_pixels:
        raise InputTooLarge(
            f"{path.name} has frames of {context.width} x {context.height} pixels, the limit is {limits.max_pixels:,}",
            "send a smaller version",
        )
    context.options = {"max_pixels": str(limits.max_pixels)}  # frames may be larger than their header says
    context.thread_type = "AUTO"
    context.thread_count = min(MAX_THREADS, os.cpu_count() or 1)
    return stream


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decode from here to the end, leaving out what is damaged."""
    for packet in _packets(container, stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue
        for frame in frames:
            if isinstance(frame, VideoFrame) and not frame.is_corrupt:
                frame.pts = frame.dts if frame.pts is None else frame.pts  # AVI states no more
                yield frame


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets up to the end or to where the file breaks off."""
    try:
        yield from container.demux(stream)
    except av.FFmpegError:
        return


def _ticks(stream: VideoStream, time_s: float) -> int:
    return (stream.start_time or 0) + round(max(time_s, 0.0) / _tick_s(stream))


def _seconds(stream: VideoStream, ticks: int) -> float:
    return (ticks - (stream.start_time or 0)) * _tick_s(stream)


def _tick_s(stream: VideoStream) -> float:
    return float(stream.time_base or Fraction(1, av.time_base))


def _stated_duration_s(container: InputContainer, stream: VideoStream) -> float:
    """The duration in the header, 0 if it says none."""
    if stream.duration:
        return max(stream.duration * _tick_s(stream), 0.0)
    return max((container.duration or 0) / av.time_base, 0.0)


def _counted_duration_s(path: Path, limits: VideoLimits) -> float:
    """The end of the last packet; nothing is decoded."""
    with _opened(path, limits) as (container, stream):
        ends = [p.pts + (p.duration or 0) for p in _packets(container, stream) if p.pts is not None]
        return max(_seconds(stream, max(ends)), 0.0) if ends else 0.0


def _turn(frame: VideoFrame) -> Turn:
    """Read the display matrix ((a, b, u), (c, d, v), (x, y, w)): stored (x, y) is shown at (ax + cy, bx + dy)."""
    side_data = cast(SideDataContainer, frame.side_data)  # PyAV's own types know motion vectors only
    matrix = next((data for data in side_data if data.type == SideDataType.DISPLAYMATRIX), None)
    if matrix is None:
        return Turn()
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Turn(transposed=True, upside_down=b < 0, mirrored=c < 0)
    return Turn(upside_down=d < 0, mirrored=a < 0)


def _rotation_deg(turn: Turn) -> int:
    if turn.transposed:
        return 90 if turn.upside_down else 270
    return 180 if turn.upside_down else 0


def _square_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Width and height in px with square pixels, as DV, DVD and HDV do not store them; only ever enlarged."""
    aspect = float(stream.sample_aspect_ratio or 1.0)
    if not 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT:
        aspect = 1.0
    return round(frame.width * max(aspect, 1.0)), round(frame.height * max(1.0 / aspect, 1.0))


def _rgb(frame: VideoFrame, stream: VideoStream) -> NDArray[np.uint8]:
    width_px, height_px = _square_size(frame, stream)
    plain = frame.reformat(width=width_px, height=height_px, format="rgb24", threads=1)
    return _turn(frame).apply(np.asarray(plain.to_ndarray(), np.uint8))
