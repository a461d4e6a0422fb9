"""Picture uint8 (height, width, 3) and a face -> the frames of a simulated video, before and after H.264.

Measured on 396 validation pictures (docs/generalization.md): the frames of one face err together, as those of a real
video do, so that a mean over 12 frames is only a little surer than one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.media.corruptions import adjust_colour
from deepfake_detector.media.face_alignment import crop_corners
from deepfake_detector.media.face_detector import Face

Pixels = NDArray[np.uint8]
FRAMES = 12  # of 16 that serving samples, a few are lost to blur and turned heads
SQUARE_PX = (130.0, 300.0)  # side of FFHQ's square, log-uniform; pictures are never enlarged
REACH = 1.0  # of the square's sides around the face's centre, to each side
CRF = (20, 36)  # lowest and highest
MAX_DEGREES, MAX_ZOOM, MAX_SHIFT_PX, MAX_LEVELS, MAX_GAMMA = 3.0, 0.04, 2.0, 6.0, 0.06
OVERSAMPLING = 2  # frames are sampled at twice their size, then averaged: interpolation alone would blur them


def simulate_frames(rgb: Pixels, face: Face, rng: np.random.Generator, count: int = FRAMES) -> list[Pixels]:
    """The surroundings of a face as frames of one size, each a little turned, scaled, shifted and lit differently.

    Args:
        rgb: (height, width, 3).
        face: found in it.
        rng: the same state gives the same frames.
        count: of frames.

    Returns:
        Of one shape with even sides.
    """
    corners = crop_corners(face, 1.0).astype(np.float64)
    centre, square_px = corners.mean(axis=0), float(np.hypot(*(corners[1] - corners[0])))
    wanted_px = math.exp(rng.uniform(math.log(SQUARE_PX[0]), math.log(SQUARE_PX[1])))
    scale = min(1.0, wanted_px / square_px)
    low = np.maximum(centre - REACH * square_px, 0)
    high = np.minimum(centre + REACH * square_px, rgb.shape[1::-1])
    size = tuple(max(32, int(side_px * scale) // 2 * 2) for side_px in high - low)
    shrink = max(1, int(1 / (OVERSAMPLING * scale)))  # of the picture, once, so that no pixel is skipped below
    if shrink > 1:
        shrunk_size = (max(1, rgb.shape[1] // shrink), max(1, rgb.shape[0] // shrink))
        rgb = np.asarray(cv2.resize(rgb, shrunk_size, interpolation=cv2.INTER_AREA), np.uint8)
    frames = []
    for _ in range(count):
        zoom = scale * (1 + rng.uniform(-MAX_ZOOM, MAX_ZOOM))
        matrix = cv2.getRotationMatrix2D(tuple(centre), rng.uniform(-MAX_DEGREES, MAX_DEGREES), zoom)
        matrix[:, 2] += (centre - low) * scale - centre + rng.uniform(-MAX_SHIFT_PX, MAX_SHIFT_PX, 2)
        frame = _sample(rgb, matrix * [shrink, shrink, 1], size)
        levels, gamma = rng.uniform(-MAX_LEVELS, MAX_LEVELS), 1 + rng.uniform(-MAX_GAMMA, MAX_GAMMA)
        frames.append(adjust_colour(frame, levels, 1.0, 1.0, gamma))
    return frames


def random_crf(rng: np.random.Generator) -> int:
    """Constant rate factor of a simulated video: uniform, from the quality of a good camera to that of a messenger."""
    return int(rng.integers(CRF[0], CRF[1] + 1))


def h264_clip(frames: Sequence[Pixels], crf: int) -> list[Pixels]:
    """Encode frames as one H.264 video, in which later frames are predicted from earlier ones, and decode it.

    Args:
        frames: n of one shape (height, width, 3), both sides even: H.264 needs it.
        crf: constant rate factor, 0 (lossless) to 51.

    Returns:
        n frames in the same order.

    Raises:
        ValueError: an odd side, or no frames.
    """
    if not frames or any(side_px % 2 for side_px in frames[0].shape[:2]):
        raise ValueError(f"{len(frames)} frames of {frames[0].shape if frames else None}: sides must be even")
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width, encoder.pix_fmt = *frames[0].shape[:2], "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(25), Fraction(1, 25)
    # x264's macroblock tree reads memory that it never wrote: with it the same frames give other pixels each time.
    encoder.options = {"crf": str(crf), "preset": "veryfast", "threads": "1", "mbtree": "0"}
    packets = []
    for index, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = index, encoder.time_base
        packets += encoder.encode(frame)
    decoder = av.CodecContext.create("h264", "r")
    decoded = [frame for packet in [*packets, *encoder.encode(None), None] for frame in decoder.decode(packet)]
    return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in decoded]


def _sample(rgb: Pixels, matrix: NDArray[np.float64], size: tuple[int, ...]) -> Pixels:
    """Warp to (height, width, 3) of this width and height."""
    fine_size = [OVERSAMPLING * side_px for side_px in size]
    fine = cv2.warpAffine(rgb, matrix * OVERSAMPLING, fine_size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), np.uint8)
