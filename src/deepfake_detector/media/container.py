"""Untrusted video file -> its open picture track; no content can make libav open another file or a host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from deepfake_detector.errors import DetectorError, InputTooLarge, UnreadableVideo
from deepfake_detector.media.track import Track

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
