"""An open container's picture stream -> its frames as stored, timed in seconds from the first, and facts about it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream


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
