"""A detector -> the same detector, which also says how long each step took and how its faces look."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.media.crop import Cut
from deepfake_detector.media.look import look_at
from deepfake_detector.scoring.detector import Detector
from deepfake_detector.scoring.judged import Judged
from deepfake_detector.serving.wire import Quality


class WatchedDetector(Detector):
    """Judges one file at a time; `steps_s` and `quality` are those of the last one."""

    steps_s: dict[str, float]  # "find" and "score", in seconds
    quality: Quality | None  # mean over the largest face of each picture or frame

    def forget(self) -> None:
        """Before the next file."""
        self.steps_s, self.quality = {}, None

    def look(self, rgb: NDArray[np.uint8]) -> list[Cut]:
        """See `Detector.look`."""
        with self._timed("find"):
            return super().look(rgb)

    def _score(self, pictures: Sequence[Sequence[Cut]]) -> list[list[Judged]]:
        largest = [cuts[0].pixels for cuts in pictures if cuts and cuts[0].pixels is not None]
        self.quality = _mean_look(largest) if largest else None
        with self._timed("score"):
            return super()._score(pictures)

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self.steps_s[step] = self.steps_s.get(step, 0.0) + time.perf_counter() - start_s


def _mean_look(crops: Sequence[NDArray[np.uint8]]) -> Quality:
    looks = [look_at(crop) for crop in crops]
    names = ("brightness", "contrast", "sharpness")
    return Quality(**{name: round(float(np.mean([getattr(look, name) for look in looks])), 2) for name in names})
