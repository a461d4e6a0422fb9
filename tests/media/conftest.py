"""Clips whose frames carry their number as eight stripes, which survive any codec; a drawn face and its detector."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from numpy.typing import NDArray

from deepfake_detector.datasets.synthetic_faces.portrait import draw_portrait
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.media.video import Frame

WIDTH, HEIGHT, FPS = 128, 64, 25


def numbered_frame(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Eight stripes for the number's bits; the lower half is red, so that rotations and exchanged channels show."""
    rgb = np.zeros((height, width, 3), np.uint8)
    for bit in range(8):
        rgb[:, bit * width // 8 : (bit + 1) * width // 8] = 230 if number >> bit & 1 else 20
    rgb[height // 2 :] = (200, 30, 30)
    return rgb


def number_of(frame: Frame) -> int:
    """The number in a decoded frame."""
    rgb = frame.rgb
    bits = [int(rgb[rgb.shape[0] // 4, (2 * bit + 1) * rgb.shape[1] // 16, 1] > 128) << bit for bit in range(8)]
    return sum(bits)


def write_clip(
    path: Path,
    codec: str = "mpeg4",
    frames: int = 100,
    *,
    ticks: Sequence[int] = (),
    gop: int = 12,
    **stream_options: Any,
) -> Path:
    """Write a clip of numbered frames; `ticks` are their times in 1/25 s, by default one each."""
    pixel_format = {"gif": "rgb8", "ffv1": "yuv420p"}.get(codec, "yuv420p")
    container_options = stream_options.pop("container_options", {})
    rotation = stream_options.pop("rotation", None)
    with av.open(str(path), "w", options=container_options) as container:
        stream = container.add_stream(codec, rate=FPS, options=stream_options.pop("options", {}))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
        stream.gop_size, stream.bit_rate = gop, 2_000_000
        for name, value in stream_options.items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            stream.set_display_rotation(*rotation)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            frame.pts = ticks[number] if ticks else number
            frame.time_base = Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    # As root, SVT-AV1 gives the calling thread the real-time policy SCHED_FIFO, and every later child inherits it.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return path


class Clips:
    """The functions above, for tests, which cannot import them: pytest imports this tree file by file."""

    width, height, fps = WIDTH, HEIGHT, FPS
    numbered_frame = staticmethod(numbered_frame)
    number_of = staticmethod(number_of)
    write = staticmethod(write_clip)


@pytest.fixture(scope="session")
def clips() -> type[Clips]:
    """Functions that write and read numbered clips."""
    return Clips


@pytest.fixture(scope="session")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred numbered frames as H.264 with B-frames."""
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", "libx264", options={"bf": "3"})


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    """One detector for all tests, so that it has seen other images before."""
    return FaceDetector()


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    """A drawn person (256, 256, 3), without camera noise and compression."""
    return draw_portrait(np.random.default_rng(3))
