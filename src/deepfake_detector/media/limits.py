"""Limits on bytes, pixels, seconds and frames of images and videos; loads no decoder, so settings can use them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageLimits:
    """Limits of one image.

    Attributes:
        max_bytes: size of the encoded image.
        max_pixels: width times height, as the header declares them.
    """

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000


@dataclass(frozen=True)
class VideoLimits:
    """Limits of one video.

    Attributes:
        max_bytes: size of the file.
        max_duration_s: a longer video is accepted, but only this much from its start is sampled.
        max_pixels: of one frame; 4K with a tenth to spare.
        max_decoded: frames decoded to reach the requested seconds; only a long file without keyframes needs so many.
    """

    max_bytes: int = 200 * 2**20
    max_duration_s: float = 600.0
    max_pixels: int = 3840 * 2160 * 11 // 10
    max_decoded: int = 20_000


DEFAULT_IMAGE_LIMITS = ImageLimits()
DEFAULT_VIDEO_LIMITS = VideoLimits()
