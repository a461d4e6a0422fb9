"""Whatever the order of times and the distance of keyframes, the frames shown then are found with little decoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from deepfake_detector.errors import InputTooLarge
from deepfake_detector.media.video import probe_video, read_frames, sample_frames, sample_times
from deepfake_detector.media.video_limits import VideoLimits


@pytest.mark.parametrize("gop", [1, 10, 1000])
@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "libx264"), ("clip.mkv", "libx264"), ("clip.avi", "mpeg4")])
def test_any_distance_of_keyframes_and_any_step_gives_the_same_frames(
    clips: Any, tmp_path: Path, name: str, codec: str, gop: int
) -> None:
    path = clips.write(tmp_path / name, codec, 250, gop=gop)
    for step in (3, 17, 60, 121):
        wanted = list(range(0, 250, step))
        found = read_frames(path, [(number + 0.4) / clips.fps for number in wanted])
        assert [clips.number_of(frame) for frame in found] == wanted


def test_seeking_decodes_little_and_reading_on_decodes_nothing_twice(
    clips: Any, mp4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = clips.write(mp4.with_name("long.mp4"), "libx264", 250, gop=12)
    assert [clips.number_of(f) for f in read_frames(long, (2.01, 9.0), VideoLimits(max_decoded=40))] == [50, 225]
    every = [(n + 0.5) / clips.fps for n in range(250)]
    assert len(list(read_frames(long, every, VideoLimits(max_decoded=250)))) == 250


def test_too_much_decoding_is_refused(clips: Any, tmp_path: Path) -> None:
    path = clips.write(tmp_path / "clip.mp4", frames=200, gop=1000)
    with pytest.raises(InputTooLarge, match="50 frames"):
        list(read_frames(path, (7.9,), VideoLimits(max_decoded=50)))


def test_times_are_taken_in_order_and_past_the_ends(clips: Any, mp4: Path) -> None:
    assert [clips.number_of(frame) for frame in read_frames(mp4, (1e6, 2.0, -5.0, 0.0, 50.0))] == [0, 50, 99]
    assert list(read_frames(mp4, ())) == []


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_uneven_frame_times(clips: Any, tmp_path: Path, name: str) -> None:
    ticks = [0, 1, 2, 50, 51, 52, 53, 200, 201, 260]
    path = clips.write(tmp_path / name, "libx264", len(ticks), ticks=ticks, gop=4)
    asked = (0.05, 1.9, 2.01, 7.9, 8.01, 10.0, 10.41)
    assert [clips.number_of(frame) for frame in read_frames(path, asked)] == [1, 2, 3, 6, 7, 8, 9]


def test_a_live_webm_without_duration_and_index(clips: Any, tmp_path: Path) -> None:
    path = clips.write(tmp_path / "clip.webm", "libvpx", container_options={"live": "1", "cluster_time_limit": "500"})
    with av.open(str(path)) as container:
        assert container.duration is None, "the fixture must lack what the test is about"
    assert probe_video(path).duration_s == pytest.approx(4.0, abs=0.1)
    assert [clips.number_of(frame) for frame in read_frames(path, (0.5, 2.5, 3.9))] == [12, 62, 97]


def test_a_clip_that_does_not_start_at_zero_is_counted_from_its_first_frame(clips: Any, tmp_path: Path) -> None:
    path = clips.write(tmp_path / "clip.ts", "mpeg2video", ticks=range(1000, 1100))
    frames = list(read_frames(path, (0.0, 2.0)))
    assert [clips.number_of(frame) for frame in frames] == [0, 50]
    assert frames[0].t_s == pytest.approx(0, abs=0.001)
    late = clips.write(tmp_path / "late.ts", "mpeg2video", 250, ticks=range(1000, 1250))
    assert [clips.number_of(frame) for frame in read_frames(late, (9.0,), VideoLimits(max_decoded=60))] == [225]


@pytest.mark.parametrize(
    ("name", "codec"), [("c.mkv", "libx264"), ("c.ts", "mpeg2video"), ("c.avi", "mpeg4"), ("c.webm", "libvpx")]
)
def test_a_file_cut_short_gives_what_is_left(clips: Any, tmp_path: Path, name: str, codec: str) -> None:
    path = clips.write(tmp_path / name, codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    probe_video(path)
    numbers = [clips.number_of(frame) for frame in read_frames(path, np.arange(0.02, 4, 0.2).tolist())]
    assert numbers[:4] == [0, 5, 10, 15]
    assert 4 < len(numbers) < 20
    assert numbers == sorted(numbers)


def test_an_mp4_with_its_header_in_front_cut_short(clips: Any, tmp_path: Path) -> None:
    path = clips.write(tmp_path / "c.mp4", "libx264", container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    numbers = [clips.number_of(frame) for frame in read_frames(path, sample_times(probe_video(path), 16))]
    assert numbers[:3] == [3, 9, 15]
    assert len(numbers) < 16


@pytest.mark.parametrize(
    ("name", "codec", "most"), [("c.mp4", "libx264", 8), ("c.mp4", "mpeg4", 8), ("c.mkv", "libx264", 30)]
)
def test_a_share_with_a_keyframe_gives_that_and_decodes_little_else(
    clips: Any, tmp_path: Path, name: str, codec: str, most: int
) -> None:
    path = clips.write(tmp_path / name, codec, 250, gop=12)
    with av.open(str(path)) as container:
        keyframes_s = [
            float(p.pts * p.time_base) for p in container.demux(video=0) if p.is_keyframe and p.pts is not None
        ]
    info = probe_video(path)
    times_s = [frame.t_s for frame in sample_frames(path, info, 8, VideoLimits(max_decoded=most))]
    assert len(times_s) == 8
    assert all(min(abs(t_s - key_s) for key_s in keyframes_s) < 0.01 for t_s in times_s[1:])
    np.testing.assert_allclose(times_s, sample_times(info, 8), atol=info.duration_s / 16 + 0.1)


def test_shares_without_a_keyframe_are_reached_past_frames_that_no_other_needs(clips: Any, tmp_path: Path) -> None:
    path = clips.write(tmp_path / "c.mp4", "libx264", 250, gop=1000, options={"bf": "3", "sc_threshold": "0"})
    frames = list(sample_frames(path, probe_video(path), 8, VideoLimits(max_decoded=190)))
    numbers = [clips.number_of(frame) for frame in frames]
    np.testing.assert_allclose(numbers, [15 + 31 * i for i in range(8)], atol=4)
