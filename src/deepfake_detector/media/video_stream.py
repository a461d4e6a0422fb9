"""Video file -> its video stream, and frames as stored at chosen seconds from the first, found by seeking."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream as AvVideoStream

from deepfake_detector.errors import DetectorError, InputTooLarge, UnreadableVideo
from deepfake_detector.media.animation import (
    HEIF_SEQUENCE_BRANDS,
    MAX_ANIMATION_BYTES,
    PILLOW_ANIMATIONS,
    is_animation,
)
from deepfake_detector.media.animation_stream import AnimationStream
from deepfake_detector.media.file_type import HEAD_BYTES, file_type, iso_brands, mime_of

# libav's own demuxer names. Playlists and scripts (hls, dash, concat, sdp) are excluded: they name other files and
# hosts.
CONTAINERS = "mov,mp4,matroska,webm,avi,gif,mpegts,mpeg,flv,ogg,asf"
FORMATS_HINT = "send an MP4, MOV, WebM, MKV, AVI, MPEG, FLV, Ogg, WMV or GIF file with a video stream"
MAX_THREADS = 4  # each holds a few frames: 64 cores and 4K would take gigabytes
MIN_SEEK_S = 1.0  # without an index, a target nearer than this is reached by decoding
SEEK_BACK_S = (0.0, 1.0, 10.0)  # some containers seek by decoding time and land behind the target
_SEQUENCE_BRANDS = HEIF_SEQUENCE_BRANDS | {b"avis"}
RESTART_BEFORE_S = 10.0
SLACK_FACTOR = 1.5  # an index states decoding times, and frames are displayed a little later


class VideoStream:
    """The video stream of an open file; see `open_video`.

    Args:
        container: an open file.
        stream: one of its video streams.
        others: see `others`.

    Attributes:
        others: size of each other video stream of the file, as "320 x 240".
    """

    def __init__(self, container: InputContainer, stream: AvVideoStream, others: tuple[str, ...] = ()) -> None:
        self._container, self._stream, self.others = container, stream, others
        self._tick_s = float(stream.time_base or Fraction(1, av.time_base))

    @property
    def codec(self) -> str:
        """libav's name, for example "h264"."""
        return self._stream.codec_context.name

    @property
    def fps(self) -> float:
        """Mean frames per second, 0 if unknown."""
        return float(self._stream.average_rate or self._stream.guessed_rate or 0)

    @property
    def pixel_aspect(self) -> float:
        """Width of a stored pixel over its height; 1 if unknown."""
        return float(self._stream.sample_aspect_ratio or 1.0)

    @property
    def stated_duration_s(self) -> float:
        """The duration in the header, 0 if it states none."""
        if self._stream.duration:
            return max(self._stream.duration * self._tick_s, 0.0)
        return max((self._container.duration or 0) / av.time_base, 0.0)

    def end_s(self) -> float:
        """Read the remaining packets without decoding; the end of the last one, 0 without any."""
        ends = [packet.pts + (packet.duration or 0) for packet in self._packets() if packet.pts is not None]
        return max(self._seconds(max(ends)), 0.0) if ends else 0.0

    def frames(self) -> Iterator[VideoFrame]:
        """Decode the remaining frames, without the damaged ones."""
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                if isinstance(frame, VideoFrame) and not frame.is_corrupt:
                    frame.pts = frame.dts if frame.pts is None else frame.pts  # AVI states no display times
                    yield frame

    def time_s(self, frame: VideoFrame) -> float:
        """When a frame of this stream is displayed."""
        return self._seconds(frame.pts or 0)

    def keyframe_before_s(self, time_s: float) -> float | None:
        """The last keyframe up to a second, -inf if there is none; None without a complete index."""
        index = self._stream.index_entries
        if not 0 < self._stream.frames <= len(index):
            return None
        position = index.search_timestamp(self._ticks(time_s))
        return self._seconds(index[position].timestamp) if position >= 0 else -math.inf

    def restart(self) -> bool:
        """Go to the start; False, and no move, if the container cannot seek."""
        # MPEG-TS lands behind the first keyframe when told to go to exactly the first second.
        return self.seek(-RESTART_BEFORE_S)

    def seek(self, time_s: float) -> bool:
        """Go to a keyframe, mostly the last one up to a second; False, and no move, if the container cannot seek."""
        try:
            self._container.seek(self._ticks(time_s), stream=self._stream)
        except av.FFmpegError:
            return False
        return True

    def skip_unreferenced(self) -> None:
        """Skip frames that no other frame refers to, mostly B-frames: half of the work in many H.264 files."""
        self._stream.codec_context.skip_frame = "NONREF"

    def _packets(self) -> Iterator[Packet[AvVideoStream]]:
        """The packets up to the end, or to the point where the file is broken."""
        try:
            yield from self._container.demux(self._stream)
        except av.FFmpegError:
            return

    def _ticks(self, time_s: float) -> int:
        return (self._stream.start_time or 0) + round(time_s / self._tick_s)

    def _seconds(self, ticks: int) -> float:
        return (ticks - (self._stream.start_time or 0)) * self._tick_s


@dataclass(frozen=True, eq=False)
class TimedFrame:
    """A frame as stored, and when it is displayed, in seconds from the first."""

    t_s: float
    frame: VideoFrame


class FrameSeeker:
    """Goes forward through a video stream, and seeks where a keyframe saves decoding.

    Args:
        stream: at its start.
        max_decoded: frames decoded in all.
        slack_s: a keyframe this near replaces the requested frame and is decoded alone; unreferenced frames are
            skipped. 0 for exactly the requested frames.
    """

    def __init__(self, stream: VideoStream | AnimationStream, max_decoded: int, slack_s: float = 0.0) -> None:
        self._stream, self._max_decoded, self._slack_s = stream, max_decoded, slack_s
        if slack_s > 0:
            stream.skip_unreferenced()
        self._min_seek_s = min(MIN_SEEK_S, slack_s or MIN_SEEK_S)
        self._decoded = 0
        self._seekable = True
        self._current: TimedFrame | None = None
        self._upcoming: TimedFrame | None = None
        self._frames = stream.frames()

    def frame_at(self, time_s: float) -> TimedFrame | None:
        """The frame displayed at (or near) a second; None if nothing decodes.

        Args:
            time_s: not before that of the previous call.

        Raises:
            InputTooLarge: more than `max_decoded` frames had to be decoded.
        """
        reached = self._upcoming or self._current
        position_s = reached.t_s if reached else 0.0
        if self._seek_helps(position_s, time_s) and self._seek(position_s, time_s):
            return self._current
        while (upcoming := self._peek()) is not None:
            if upcoming.t_s > time_s and self._current is not None:
                break
            self._current, self._upcoming = upcoming, None
        return self._current

    def _seek_helps(self, position_s: float, time_s: float) -> bool:
        if not self._seekable:
            return False
        keyframe_s = self._stream.keyframe_before_s(time_s + self._slack_s)
        if keyframe_s is None:
            return time_s - position_s > self._min_seek_s
        return keyframe_s > position_s

    def _seek(self, position_s: float, time_s: float) -> bool:
        """Go to a keyframe from which to decode; True if it is near enough to replace the requested frame."""
        before = self._current
        for back_s in SEEK_BACK_S:
            if not self._jump(max(time_s + self._slack_s - back_s, 0.0)):
                return False  # this container cannot seek and has not moved: decode on
            landed = self._peek()
            if landed is not None and self._is_near(landed, position_s, time_s):
                self._current, self._upcoming = landed, None
                return True
            if landed is not None and landed.t_s <= time_s:
                if landed.t_s <= position_s:
                    self._min_seek_s *= 2  # keyframes lie further apart than assumed
                return False
        if landed is not None or before is None:
            self._restart()
        elif not self._read_on(time_s):
            self._current = before  # nothing decodes there: truncated, or past the end
        return False

    def _read_on(self, time_s: float) -> bool:
        """Where no seek finds a frame before the end of a file without an index: go to the start, and seek no more."""
        if self._stream.keyframe_before_s(time_s) is not None:
            return False
        self._seekable = False
        if not self._stream.restart() or self._stream.end_s() <= time_s:
            return False
        self._restart()
        return self._peek() is not None

    def _restart(self) -> None:
        self._stream.restart()
        self._current = self._upcoming = None
        self._frames = self._stream.frames()

    def _is_near(self, landed: TimedFrame, position_s: float, time_s: float) -> bool:
        apart_s = landed.t_s - time_s
        near = -self._slack_s <= apart_s <= SLACK_FACTOR * self._slack_s
        return landed.t_s > position_s and near and self._slack_s > 0

    def _jump(self, time_s: float) -> bool:
        if not self._stream.seek(time_s):
            return False
        self._current = self._upcoming = None
        self._frames = self._stream.frames()
        return True

    def _peek(self) -> TimedFrame | None:
        """The next frame, decoded but not yet current."""
        if self._upcoming is None and (frame := next(self._frames, None)) is not None:
            self._decoded += 1
            if self._decoded > self._max_decoded:
                raise InputTooLarge(
                    f"more than {self._max_decoded:,} frames must be decoded to sample this video",
                    "shorten it, or encode it with more keyframes",
                )
            self._upcoming = TimedFrame(self._stream.time_s(frame), frame)
        return self._upcoming


@contextmanager
def open_video(path: Path, max_bytes: int, max_pixels: int) -> Iterator[VideoStream | AnimationStream]:
    """Open a file for decoding; errors of libav, now or in the block, become errors of this program.

    Args:
        path: a video file; its name is not trusted.
        max_bytes: of the file.
        max_pixels: of one frame.

    Raises:
        UnreadableVideo: not a video of a known container, or without a video stream.
        InputTooLarge: over a limit.
    """
    try:
        _check_bytes(path, max_bytes)
        if (animation := _read_animation(path)) is not None:
            yield AnimationStream(animation, max_pixels)
            return
        _check_type(path)
        with path.open("rb") as file, _open_container(file, {"max_pixels": str(max_pixels)}) as container:
            yield _video_stream(container, path, max_pixels)
    except DetectorError:
        raise
    except Exception as error:  # besides its own errors PyAV raises ValueError, IndexError and more on broken files
        reason = getattr(error, "strerror", None) or error
        raise UnreadableVideo(f"{path.name} is not a readable video: {reason}", FORMATS_HINT) from error


def container_tags(path: Path) -> dict[str, str]:
    """Names and values of the text tags in the header of a video file; {} if it cannot be read.

    Raises:
        OSError: there is no such file, or it may not be read.
    """
    with path.open("rb") as file:
        try:
            with _open_container(file, {}) as container:
                tags = {name: value for stream in container.streams.video for name, value in stream.metadata.items()}
                return tags | container.metadata
        except Exception:  # as in `open_video`; a video that cannot be read has its own error there
            return {}


def _open_container(file: BinaryIO, options: dict[str, str]) -> InputContainer:
    # By descriptor, not by name: libav guesses formats and addresses from names ("%03d.png", "concat:a|b").
    # With "fd" as the only protocol no content can make it open another file or a host.
    confined = {"fd": str(file.fileno()), "protocol_whitelist": "fd", "format_whitelist": CONTAINERS}
    return av.open("fd:", options=confined | options, metadata_errors="replace")


def _check_bytes(path: Path, max_bytes: int) -> None:
    if not path.is_file():
        raise UnreadableVideo(f"there is no file {path}", "check the path")
    size = path.stat().st_size
    if size == 0:
        raise UnreadableVideo(f"{path.name} is empty: 0 bytes", FORMATS_HINT)
    if size > max_bytes:
        raise InputTooLarge(f"{path.name} has {size:,} bytes, the limit is {max_bytes:,}", "send a shorter clip")


def _check_type(path: Path) -> None:
    """Refuse images and documents by their names; GIFs and image sequences are left to libav."""
    head = _head(path)
    found = file_type(head)
    if found is not None and found.kind == "video" and not found.supported:
        hint = "put it into an MP4 or MKV file, for example by `ffmpeg -i FILE -c copy FILE.mkv`"
        raise UnreadableVideo(f"{path.name} is {found.name}, which is not read here", hint)
    if found is None or found.kind == "video" or found.mime == "image/gif":
        return
    if not (head[4:8] == b"ftyp" and _SEQUENCE_BRANDS.intersection(iso_brands(head))):
        raise UnreadableVideo(f"{path.name} is {found.name}, not a video", FORMATS_HINT)


def _read_animation(path: Path) -> bytes | None:
    """Content of an animation that libav does not read; None for any other file. GIFs are left to libav."""
    head = _head(path)
    if mime_of(head) not in PILLOW_ANIMATIONS or path.stat().st_size > MAX_ANIMATION_BYTES:
        return None
    data = path.read_bytes()
    return data if is_animation(data) else None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def _video_stream(container: InputContainer, path: Path, max_pixels: int) -> VideoStream:
    """The stream that players show: not a cover image, by default flag, then size, then length; ready to decode."""
    moving = _moving_streams(container, path)
    if not moving:
        raise UnreadableVideo(f"{path.name} has no video stream", FORMATS_HINT)
    stream = max(moving, key=_preference)  # the first of equals
    context = stream.codec_context
    if context.width * context.height > max_pixels:
        raise InputTooLarge(
            f"{path.name} has frames of {context.width} x {context.height} pixels, the limit is {max_pixels:,}",
            "send a smaller version",
        )
    context.options = {"max_pixels": str(max_pixels)}  # frames may be larger than their header declares
    context.thread_type = "AUTO"
    context.thread_count = min(MAX_THREADS, os.cpu_count() or 1)
    others = (each.codec_context for each in moving if each is not stream)
    return VideoStream(container, stream, tuple(f"{each.width} x {each.height}" for each in others))


def _moving_streams(container: InputContainer, path: Path) -> list[AvVideoStream]:
    """The video streams that are no cover image: neither flagged as one, nor of one frame beside another stream."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if len(streams) < 2:
        return streams
    uncounted = [stream.index for stream in streams if not stream.frames]
    single = {stream.index for stream in streams if stream.frames == 1} | _single_frame_streams(path, uncounted)
    return [stream for stream in streams if stream.index not in single] or streams


def _single_frame_streams(path: Path, indexes: list[int]) -> set[int]:
    """Those of the streams that have fewer than two packets; reads up to the second packet of each."""
    missing = dict.fromkeys(indexes, 2)
    if not missing:
        return set()
    with path.open("rb") as file, _open_container(file, {}) as container, suppress(av.FFmpegError):
        for packet in container.demux([container.streams[index] for index in indexes]):
            missing[packet.stream.index] -= packet.size > 0  # the last one of each stream is empty
            if max(missing.values()) <= 0:
                break
    return {index for index, count in missing.items() if count > 0}


def _preference(stream: AvVideoStream) -> tuple[bool, int, float]:
    context = stream.codec_context
    duration_s = float((stream.duration or 0) * (stream.time_base or 0))
    return bool(stream.disposition & Disposition.default), context.width * context.height, duration_s
