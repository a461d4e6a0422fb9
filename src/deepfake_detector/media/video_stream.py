"""An open container's picture stream -> its frames as stored, timed in seconds from the first, and facts about it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from deepfake_detector.errors import DetectorError, InputTooLarge, UnreadableVideo


class Track:
    """The moving pictures of an open file: read on from here, or seek. See `opened`.

    Args:
        container: an open file.
        stream: one of its picture streams.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._container, self._stream = container, stream
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
        """Width of a stored pixel by its height; 1 if unknown."""
        return float(self._stream.sample_aspect_ratio or 1.0)

    @property
    def stated_duration_s(self) -> float:
        """The duration in the header, 0 if it says none."""
        if self._stream.duration:
            return max(self._stream.duration * self._tick_s, 0.0)
        return max((self._container.duration or 0) / av.time_base, 0.0)

    def end_s(self) -> float:
        """Go through the packets from here on; the end of the last, 0 without any. Nothing is decoded."""
        ends = [packet.pts + (packet.duration or 0) for packet in self._packets() if packet.pts is not None]
        return max(self._seconds(max(ends)), 0.0) if ends else 0.0

    def frames(self) -> Iterator[VideoFrame]:
        """Decode from here to the end, leaving out what is damaged."""
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                if isinstance(frame, VideoFrame) and not frame.is_corrupt:
                    frame.pts = frame.dts if frame.pts is None else frame.pts  # AVI states no more
                    yield frame

    def time_s(self, frame: VideoFrame) -> float:
        """When a frame of this track is shown."""
        return self._seconds(frame.pts or 0)

    def keyframe_s(self, time_s: float) -> float | None:
        """The last keyframe up to a second, -inf if there is none; None where no whole index tells."""
        index = self._stream.index_entries
        if not 0 < self._stream.frames <= len(index):
            return None
        place = index.search_timestamp(self._ticks(time_s))
        return self._seconds(index[place].timestamp) if place >= 0 else -math.inf

    def seek(self, time_s: float) -> bool:
        """Go to a keyframe, mostly the last one up to a second; False if this container cannot, and stays."""
        try:
            self._container.seek(self._ticks(time_s), stream=self._stream)
        except av.FFmpegError:
            return False
        return True

    def skip_unreferenced(self) -> None:
        """Leave out frames that no other frame is built from, mostly B-frames: half of the work in many H.264 files."""
        self._stream.codec_context.skip_frame = "NONREF"

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """The packets up to the end or to where the file breaks off."""
        try:
            yield from self._container.demux(self._stream)
        except av.FFmpegError:
            return

    def _ticks(self, time_s: float) -> int:
        return (self._stream.start_time or 0) + round(max(time_s, 0.0) / self._tick_s)

    def _seconds(self, ticks: int) -> float:
        return (ticks - (self._stream.start_time or 0)) * self._tick_s


# libav's own demuxer names. Playlists and scripts (hls, dash, concat, sdp) stay out: they name other files and hosts.
CONTAINERS = "mov,mp4,matroska,webm,avi,gif,mpegts,mpeg,flv,ogg,asf"
FORMATS_HINT = "send an MP4, MOV, WebM, MKV, AVI, MPEG, FLV, Ogg, WMV or GIF file with a picture track"
MAX_THREADS = 4  # each holds a few frames: 64 cores and 4K would take gigabytes


@contextmanager
def opened(path: Path, max_bytes: int, max_pixels: int) -> Iterator[Track]:
    """Open a file for decoding and turn whatever libav raises, now or in the block, into this program's errors.

    Args:
        path: a video file; its name is not trusted.
        max_bytes: of the file.
        max_pixels: of one frame.

    Raises:
        UnreadableVideo: not a video of a known container, or without a picture track.
        InputTooLarge: over a limit.
    """
    try:
        _check_bytes(path, max_bytes)
        with path.open("rb") as file:
            # By number, not by name: libav guesses formats and addresses from names ("%03d.png", "concat:a|b"), and
            # with "fd" as the only protocol no content can make it open another file or a host.
            options = {"fd": str(file.fileno()), "protocol_whitelist": "fd", "format_whitelist": CONTAINERS}
            options["max_pixels"] = str(max_pixels)
            with av.open("fd:", options=options, metadata_errors="replace") as container:
                yield Track(container, _picture_stream(container, path, max_pixels))
    except DetectorError:
        raise
    except Exception as error:  # besides its own errors PyAV raises ValueError, IndexError and more on broken files
        reason = getattr(error, "strerror", None) or error
        raise UnreadableVideo(f"{path.name} is no video that can be read: {reason}", FORMATS_HINT) from error


def _check_bytes(path: Path, max_bytes: int) -> None:
    if not path.is_file():
        raise UnreadableVideo(f"there is no file {path}", "check the path")
    size = path.stat().st_size
    if size == 0:
        raise UnreadableVideo(f"{path.name} is empty: 0 bytes", FORMATS_HINT)
    if size > max_bytes:
        raise InputTooLarge(f"{path.name} has {size:,} bytes, the limit is {max_bytes:,}", "send a shorter clip")


def _picture_stream(container: InputContainer, path: Path, max_pixels: int) -> VideoStream:
    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not moving:
        raise UnreadableVideo(f"{path.name} has no picture track", FORMATS_HINT)
    stream = moving[0]
    context = stream.codec_context
    if context.width * context.height > max_pixels:
        raise InputTooLarge(
            f"{path.name} has frames of {context.width} x {context.height} pixels, the limit is {max_pixels:,}",
            "send a smaller version",
        )
    context.options = {"max_pixels": str(max_pixels)}  # frames may be larger than their header says
    context.thread_type = "AUTO"
    context.thread_count = min(MAX_THREADS, os.cpu_count() or 1)
    return stream


NEAR = 1.5  # times the slack: indexes state decoding times, and frames are shown a little later
WORTH_A_SEEK_S = 1.0  # where no index tells: a target nearer than this is reached by decoding on
STEPS_BACK_S = (0.0, 1.0, 10.0)  # some containers seek by decoding time and land behind the target


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame as stored, and when it is shown, in seconds from the first."""

    t_s: float
    frame: VideoFrame


class Playhead:
    """Goes forward through a track, by seeking where a keyframe shortens the way.

    Args:
        track: at its start.
        max_decoded: frames decoded in all.
        slack_s: a keyframe that lies so near serves as well as the frame asked for, and is decoded alone; frames that
            no other needs are skipped. 0 for exactly the frames asked for.
    """

    def __init__(self, track: Track, max_decoded: int, slack_s: float = 0.0) -> None:
        self._track, self._max_decoded, self._slack_s = track, max_decoded, slack_s
        if slack_s > 0:
            track.skip_unreferenced()
        self._worth_a_seek_s = min(WORTH_A_SEEK_S, slack_s or WORTH_A_SEEK_S)
        self._decoded = 0
        self._current: Shown | None = None
        self._upcoming: Shown | None = None
        self._frames = track.frames()

    def at(self, time_s: float) -> Shown | None:
        """Find the frame shown at (or near) a second that is not before the last one; None if nothing decodes.

        Raises:
            InputTooLarge: more than `max_decoded` frames lie on the way.
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
        keyframe_s = self._track.keyframe_s(time_s + self._slack_s)
        if keyframe_s is None:
            return time_s - position_s > self._worth_a_seek_s
        return keyframe_s > position_s

    def _seek(self, position_s: float, time_s: float) -> bool:
        """Go to a keyframe from which to decode on; whether it is near enough to be the frame that was asked for."""
        before = self._current
        for back_s in STEPS_BACK_S:
            if not self._jump(time_s + self._slack_s - back_s):
                return False  # this container cannot seek, and stays where it was: decode on
            landed = self._peek()
            if landed is not None and self._is_near(landed, position_s, time_s):
                self._current, self._upcoming = landed, None
                return True
            if landed is not None and landed.t_s <= time_s:
                if landed.t_s <= position_s:
                    self._worth_a_seek_s *= 2  # keyframes lie further apart than thought
                return False
        if landed is None and before is not None:
            self._current = before  # nothing decodes there: cut short, or past the end
        else:
            self._jump(0.0)
        return False

    def _is_near(self, landed: Shown, position_s: float, time_s: float) -> bool:
        apart_s = landed.t_s - time_s
        return landed.t_s > position_s and -self._slack_s <= apart_s <= NEAR * self._slack_s and self._slack_s > 0

    def _jump(self, time_s: float) -> bool:
        if not self._track.seek(time_s):
            return False
        self._current = self._upcoming = None
        self._frames = self._track.frames()
        return True

    def _peek(self) -> Shown | None:
        if self._upcoming is None and (frame := next(self._frames, None)) is not None:
            self._decoded += 1
            if self._decoded > self._max_decoded:
                raise InputTooLarge(
                    f"more than {self._max_decoded:,} frames must be decoded to sample this video",
                    "cut it, or save it with more keyframes",
                )
            self._upcoming = Shown(self._track.time_s(frame), frame)
        return self._upcoming
