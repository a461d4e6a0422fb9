"""What a video may cost, without loading libav, which only those need who read one."""

from __future__ import annotations

from dataclasses import dataclass


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


USUAL = VideoLimits()
