from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media.corruptions import psnr_db, translate
from deepfake_detector.media.simulated_video import h264_clip


def test_frames_come_back_in_order_and_lose_detail(portrait: NDArray[np.uint8]) -> None:
    frames = [translate(portrait, 3 * index, 0) for index in range(12)]
    fine, coarse = h264_clip(frames, 10), h264_clip(frames, 40)
    assert len(fine) == len(coarse) == 12
    for index, (frame, good, bad) in enumerate(zip(frames, fine, coarse, strict=True)):
        assert good.shape == frame.shape
        assert psnr_db(frame, good) > 36 > psnr_db(frame, bad)
        assert np.argmax([psnr_db(each, good) for each in frames]) == index


def test_a_later_frame_is_predicted_from_an_earlier_one(portrait: NDArray[np.uint8]) -> None:
    moved = translate(portrait, 3, 0)
    in_a_video, alone = h264_clip([portrait, moved], 36)[1], h264_clip([moved], 36)[0]
    assert not np.array_equal(in_a_video, alone)


def test_the_same_frames_give_the_same_pixels_each_time(portrait: NDArray[np.uint8]) -> None:
    """x264 reads memory that it never wrote, unless told not to: what was there before must not matter."""
    frames = [translate(portrait[:216, :216], 2 * index, index) for index in range(12)]
    rng = np.random.default_rng(1)
    first = h264_clip(frames, 28)
    for _ in range(10):
        arrays = [rng.integers(0, 256, int(size), dtype=np.uint8) for size in rng.integers(1000, 400_000, 60)]
        del arrays  # their memory is used again
        assert np.array_equal(h264_clip(frames, 28), first)


def test_the_same_frames_give_the_same_video(portrait: NDArray[np.uint8]) -> None:
    """With x264's macroblock tree they did not."""
    frames = [np.ascontiguousarray(translate(portrait, shift, 2 * shift)[:214, :214]) for shift in range(12)]
    first = h264_clip(frames, 30)
    for _ in range(5):
        assert all(map(np.array_equal, h264_clip(frames, 30), first))


@pytest.mark.parametrize("frames", [[], [np.zeros((63, 64, 3), np.uint8)]])
def test_odd_sides_and_no_frames_are_refused(frames: list[NDArray[np.uint8]]) -> None:
    with pytest.raises(ValueError, match="even"):
        h264_clip(frames, 20)
