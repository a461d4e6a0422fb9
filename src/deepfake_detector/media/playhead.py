"""A picture track and seconds in rising order -> the frames shown then, decoding as little as its keyframes allow."""

from __future__ import annotations

from dataclasses import dataclass

from av.video.frame import VideoFrame

from deepfake_detector.errors import InputTooLarge
from deepfake_detector.media.track import Track

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
