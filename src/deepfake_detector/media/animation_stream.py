"""Bytes of an animated PNG, WebP or AVIF, which libav does not read -> its frames, as a video stream gives them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from av.video.frame import VideoFrame
from PIL import Image

from deepfake_detector.errors import InputTooLarge
from deepfake_detector.media.image import open_image, to_rgb

MAX_FRAMES = 500  # the others are not looked at
DEFAULT_FRAME_MS = 100.0  # of a frame that states no duration, as browsers show it


class AnimationStream:
    """The frames of an animation; has the methods of `VideoStream`, and cannot seek.

    Args:
        data: the file.
        max_pixels: of one frame.

    Raises:
        UnreadableImage: no image of a known format.
        InputTooLarge: more pixels than the limit.
    """

    others: tuple[str, ...] = ()
    pixel_aspect = 1.0

    def __init__(self, data: bytes, max_pixels: int) -> None:
        self._image = open_image(data)
        if self._image.width * self._image.height > max_pixels:
            raise InputTooLarge(
                f"the animation has frames of {self._image.width} x {self._image.height} pixels, the limit is "
                f"{max_pixels:,}",
                "send a smaller version",
            )
        self._next = 0
        self._starts_ms = [0.0]
        # An animated PNG may begin with an image that is shown only by programs that do not animate.
        self._first = int(getattr(self._image, "default_image", False))
        for number in range(min(int(getattr(self._image, "n_frames", 1)) - self._first, MAX_FRAMES)):
            if not _show(self._image, self._first + number):
                break
            self._starts_ms.append(self._starts_ms[-1] + _duration_ms(self._image))

    @property
    def codec(self) -> str:
        """Pillow's name of the format in lower case, for example "webp"."""
        return str(self._image.format).lower()

    @property
    def fps(self) -> float:
        """Mean frames per second, 0 without frames."""
        return (len(self._starts_ms) - 1) / self.stated_duration_s if self.stated_duration_s else 0.0

    @property
    def stated_duration_s(self) -> float:
        """The durations of all frames together."""
        return self._starts_ms[-1] / 1000

    def end_s(self) -> float:
        """The same as `stated_duration_s`."""
        return self.stated_duration_s

    def frames(self) -> Iterator[VideoFrame]:
        """Decode the remaining frames, up to the first damaged one."""
        while self._next < len(self._starts_ms) - 1:
            number, self._next = self._next, self._next + 1
            if not _show(self._image, self._first + number):
                return
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(to_rgb(self._image)), format="rgb24")
            frame.pts = number
            yield frame

    def time_s(self, frame: VideoFrame) -> float:
        """When a frame of this stream is displayed."""
        return self._starts_ms[frame.pts or 0] / 1000

    def keyframe_before_s(self, time_s: float) -> float | None:
        """The first frame: every other one may need those before it."""
        return 0.0 if time_s >= 0 else None

    def seek(self, time_s: float) -> bool:  # noqa: ARG002  (the signature of VideoStream)
        """False: no move."""
        return False

    def restart(self) -> bool:
        """False: no move."""
        return False

    def skip_unreferenced(self) -> None:
        """Nothing: no frame can be skipped."""


def _show(image: Image.Image, number: int) -> bool:
    """Decode one frame; False if it is damaged."""
    try:
        image.seek(number)
        image.load()
    except Exception:  # plug-ins raise nearly anything on broken files
        return False
    return True


def _duration_ms(image: Image.Image) -> float:
    return float(image.info.get("duration") or DEFAULT_FRAME_MS)
