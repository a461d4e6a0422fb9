"""A video of any length -> the limits under which all of it is analysed; its analysed frames -> progress, 0 to 1.

Videos of up to ten minutes are analysed as `POST /predict_video` does, so both give the same answer. Longer ones get
as many frames per minute as a video of ten minutes.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from deepfake_detector.inference.detector import Detector, ScoringLimits
from deepfake_detector.media.limits import VideoLimits
from deepfake_detector.serving.messages import LONG_VIDEO_S, MAX_UNFINISHED, Job, Progress

MAX_DECODED = 200_000
MAX_FACES = 8  # of a frame of a video longer than ten minutes: the crops of all frames are in memory together
REPORT_EVERY_S = 0.3


def long_video_limits(path: Path, job: Job, usual: ScoringLimits) -> ScoringLimits:
    """Return the limits for one video.

    Args:
        path: of the video.
        job: with the limit on its bytes.
        usual: limits of `POST /predict_video`.

    Raises:
        UnreadableVideo, InputTooLarge: see `probe_video`.
    """
    from deepfake_detector.media.video import probe_video  # loads libav

    video = VideoLimits(job.max_bytes, LONG_VIDEO_S, usual.video.max_pixels, MAX_DECODED)
    times_longer = probe_video(path, video).duration_s / usual.video.max_duration_s
    if times_longer <= 1:
        return replace(usual, video=replace(usual.video, max_bytes=job.max_bytes))
    frames = math.ceil(usual.frames * times_longer)
    return replace(usual, frames=frames, max_faces=min(MAX_FACES, usual.max_faces), video=video)


class ProgressReporter:
    """Tells the parent process how many of the planned frames of a long video have been analysed.

    Args:
        connection: to the parent process.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()
        self._planned, self._done, self._reported_s = 0, 0, 0.0

    @contextmanager
    def whole_video(self, detector: Detector, job: Job, path: Path) -> Iterator[None]:
        """Have a detector analyse all of a video in the `with` block, and report its progress."""
        usual = detector.limits
        detector.limits = long_video_limits(path, job, usual)
        with self._lock:
            self._planned, self._done, self._reported_s = detector.limits.frames, 0, 0.0
        try:
            yield
        finally:
            detector.limits = usual
            with self._lock:
                self._planned = 0  # frames of other files are not reported

    def frame_done(self) -> None:
        """Count an analysed frame; called from several threads."""
        with self._lock:
            self._done += 1
            if not self._planned or time.monotonic() - self._reported_s < REPORT_EVERY_S:
                return
            self._reported_s = time.monotonic()
            progress = Progress(progress=min(self._done / self._planned, MAX_UNFINISHED))
            self._connection.send_bytes(progress.model_dump_json().encode())
