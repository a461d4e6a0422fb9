"""Clips in every container give upright frames in true colours at the requested seconds."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from deepfake_detector.media.limits import VideoLimits
from deepfake_detector.media.video import VideoInfo, probe_video, read_frames, sample_times

if TYPE_CHECKING:
    from tests.media.conftest import Clips

CONTAINERS = [
    ("clip.mp4", "libx264"),
    ("clip.mp4", "mpeg4"),
    ("clip.mov", "mpeg4"),
    ("clip.mkv", "libx264"),
    ("clip.webm", "libvpx-vp9"),
    ("clip.avi", "mpeg4"),
    ("clip.ts", "libx264"),
    ("clip.ts", "mpeg2video"),
    ("clip.flv", "flv"),
    ("clip.ogv", "libvpx"),
    ("clip.wmv", "wmv2"),
    ("clip.gif", "gif"),
    ("clip.mp4", "libx265"),
    ("clip.mkv", "libsvtav1"),
]


@pytest.mark.parametrize(("name", "codec"), CONTAINERS)
def test_every_container_gives_the_frames_at_the_requested_seconds(
    clips: type[Clips], tmp_path: Path, name: str, codec: str
) -> None:
    path = clips.write(tmp_path / name, codec)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER  # an encoder changes it
    info = probe_video(path)
    assert (info.width_px, info.height_px) == (clips.width, clips.height)
    assert info.duration_s == pytest.approx(4.0, abs=0.1)
    assert info.full_duration_s == info.duration_s
    times_s = (0.01, 0.5, 0.58, 1.7, 3.3, 3.31, 3.9)
    frames = list(read_frames(path, times_s))
    assert [clips.number_of(frame) for frame in frames] == [0, 12, 14, 42, 82, 97]  # 3.3 and 3.31 s are one frame
    for frame, time_s in zip(frames, (0.01, 0.5, 0.58, 1.7, 3.3, 3.9), strict=True):
        assert frame.rgb.shape == (clips.height, clips.width, 3)
        assert frame.rgb.dtype == np.uint8
        assert -0.002 < time_s - frame.t_s < 0.042


@pytest.mark.parametrize(("name", "codec"), [("clip.avi", "libx264"), ("clip.mpg", "mpeg2video")])
def test_containers_that_state_only_some_times_are_approximate(
    clips: type[Clips], tmp_path: Path, name: str, codec: str
) -> None:
    path = clips.write(tmp_path / name, codec, options={"bf": "2"})
    assert probe_video(path).duration_s == pytest.approx(4.0, abs=0.5)
    numbers = [clips.number_of(frame) for frame in read_frames(path, (0.5, 1.7, 3.3))]
    np.testing.assert_allclose(numbers, [12, 42, 82], atol=3)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_rotation_is_applied_as_players_do(clips: type[Clips], tmp_path: Path, degrees: int, mirrored: bool) -> None:
    """Stored frames are rotated anticlockwise, then mirrored, as the display matrix in the header says."""
    path = clips.write(tmp_path / "phone.mp4", frames=5, rotation=(degrees, mirrored))
    info = probe_video(path)
    rgb = next(read_frames(path, (0.1,))).rgb
    expected = np.rot90(clips.numbered_frame(2), degrees // 90)
    expected = np.fliplr(expected) if mirrored else expected
    assert rgb.shape == expected.shape == (info.height_px, info.width_px, 3)
    assert np.abs(rgb.astype(int) - expected).mean() < 12
    if not mirrored:
        assert info.rotation_deg == degrees
        with av.open(str(path)) as container:  # PyAV's own reading of the same matrix
            assert next(container.decode(video=0)).rotation % 360 == degrees


def test_colours_and_brightness_are_kept(clips: type[Clips], mp4: Path) -> None:
    rgb = next(read_frames(mp4, (2.0,))).rgb.astype(int)
    assert np.abs(rgb - clips.numbered_frame(50)).mean() < 8


def test_frames_get_square_pixels(clips: type[Clips], tmp_path: Path) -> None:
    path = clips.write(tmp_path / "dv.mkv", frames=3, sample_aspect_ratio=Fraction(3, 2))
    assert probe_video(path).width_px == 192
    frame = next(read_frames(path, (0.05,)))
    assert frame.rgb.shape == (64, 192, 3)
    assert clips.number_of(frame) == 1


def test_sample_times_are_the_midpoints_of_equal_shares() -> None:
    info = VideoInfo(8.0, 1, 1, 25.0, "h264", 0, 8.0)
    assert sample_times(info, 4) == (1.0, 3.0, 5.0, 7.0)
    assert sample_times(info, 1) == (4.0,)
    assert sample_times(info, 0) == ()


def test_only_the_start_of_a_long_video_is_sampled(mp4: Path) -> None:
    info = probe_video(mp4, VideoLimits(max_duration_s=2.0))
    assert info.duration_s == 2.0
    assert info.full_duration_s == pytest.approx(4.0, abs=0.05)
    assert max(sample_times(info, 16)) < 2.0


def test_a_video_of_one_frame_is_read(clips: type[Clips], tmp_path: Path) -> None:
    for name, codec in (("still.gif", "gif"), ("still.mp4", "mpeg4")):
        path = clips.write(tmp_path / name, codec, frames=1)
        assert len(list(read_frames(path, sample_times(probe_video(path), 16)))) == 1


def test_reading_is_deterministic(mp4: Path) -> None:
    first, second = (list(read_frames(mp4, (0.3, 1.1, 3.0))) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert a.t_s == b.t_s
        np.testing.assert_array_equal(a.rgb, b.rgb)
