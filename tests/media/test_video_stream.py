"""Frames are found by seeking with little decoding; broken and malicious files get an error and open no other file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.stream import Disposition
from av.video.stream import VideoStream

from deepfake_detector.errors import InputTooLarge, UnreadableVideo
from deepfake_detector.media.image import encode_jpeg, encode_png
from deepfake_detector.media.limits import VideoLimits
from deepfake_detector.media.video import probe_video, read_frames, sample_frames, sample_times
from deepfake_detector.media.video_stream import CONTAINERS

if TYPE_CHECKING:
    from tests.media.conftest import Clips

PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:4,\n{target}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{target}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
    'profiles="urn:mpeg:dash:profile:full:2011"><Period><AdaptationSet><Representation><BaseURL>{target}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "subtitles": "1\n00:00:00,000 --> 00:00:09,000\nhello\n",
}


@pytest.mark.parametrize("gop", [1, 10, 1000])
@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "libx264"), ("clip.mkv", "libx264"), ("clip.avi", "mpeg4")])
def test_the_requested_frames_are_found_at_any_keyframe_distance_and_step(
    clips: type[Clips], tmp_path: Path, name: str, codec: str, gop: int
) -> None:
    path = clips.write(tmp_path / name, codec, 250, gop=gop)
    for step in (3, 17, 60, 121):
        numbers = list(range(0, 250, step))
        frames = read_frames(path, [(number + 0.4) / clips.fps for number in numbers])
        assert [clips.number_of(frame) for frame in frames] == numbers


def test_seeking_decodes_little_and_reading_on_decodes_no_frame_twice(clips: type[Clips], mp4: Path) -> None:
    long = clips.write(mp4.with_name("long.mp4"), "libx264", 250, gop=12)
    assert [clips.number_of(f) for f in read_frames(long, (2.01, 9.0), VideoLimits(max_decoded=40))] == [50, 225]
    every = [(n + 0.5) / clips.fps for n in range(250)]
    assert len(list(read_frames(long, every, VideoLimits(max_decoded=250)))) == 250


def test_too_much_decoding_is_rejected(clips: type[Clips], tmp_path: Path) -> None:
    path = clips.write(tmp_path / "clip.mp4", frames=200, gop=1000)
    with pytest.raises(InputTooLarge, match="50 frames"):
        list(read_frames(path, (7.9,), VideoLimits(max_decoded=50)))


def test_times_are_sorted_and_clamped_to_the_video(clips: type[Clips], mp4: Path) -> None:
    assert [clips.number_of(frame) for frame in read_frames(mp4, (1e6, 2.0, -5.0, 0.0, 50.0))] == [0, 50, 99]
    assert list(read_frames(mp4, ())) == []


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_frames_at_uneven_intervals_are_found(clips: type[Clips], tmp_path: Path, name: str) -> None:
    ticks = [0, 1, 2, 50, 51, 52, 53, 200, 201, 260]
    path = clips.write(tmp_path / name, "libx264", len(ticks), ticks=ticks, gop=4)
    times_s = (0.05, 1.9, 2.01, 7.9, 8.01, 10.0, 10.41)
    assert [clips.number_of(frame) for frame in read_frames(path, times_s)] == [1, 2, 3, 6, 7, 8, 9]


def test_a_webm_without_duration_and_index_is_read(clips: type[Clips], tmp_path: Path) -> None:
    path = clips.write(tmp_path / "clip.webm", "libvpx", container_options={"live": "1", "cluster_time_limit": "500"})
    with av.open(str(path)) as container:
        assert container.duration is None, "this clip must not state a duration"
    assert probe_video(path).duration_s == pytest.approx(4.0, abs=0.1)
    assert [clips.number_of(frame) for frame in read_frames(path, (0.5, 2.5, 3.9))] == [12, 62, 97]


def test_seconds_are_counted_from_the_first_frame(clips: type[Clips], tmp_path: Path) -> None:
    path = clips.write(tmp_path / "clip.ts", "mpeg2video", ticks=range(1000, 1100))
    frames = list(read_frames(path, (0.0, 2.0)))
    assert [clips.number_of(frame) for frame in frames] == [0, 50]
    assert frames[0].t_s == pytest.approx(0, abs=0.001)
    late = clips.write(tmp_path / "late.ts", "mpeg2video", 250, ticks=range(1000, 1250))
    assert [clips.number_of(frame) for frame in read_frames(late, (9.0,), VideoLimits(max_decoded=60))] == [225]


@pytest.mark.parametrize(
    ("name", "codec"), [("c.mkv", "libx264"), ("c.ts", "mpeg2video"), ("c.avi", "mpeg4"), ("c.webm", "libvpx")]
)
def test_a_truncated_file_gives_the_frames_it_has(clips: type[Clips], tmp_path: Path, name: str, codec: str) -> None:
    path = clips.write(tmp_path / name, codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    probe_video(path)
    numbers = [clips.number_of(frame) for frame in read_frames(path, np.arange(0.02, 4, 0.2).tolist())]
    assert numbers[:4] == [0, 5, 10, 15]
    assert 4 < len(numbers) < 20
    assert numbers == sorted(numbers)


def test_a_truncated_mp4_with_its_header_in_front_gives_the_frames_it_has(clips: type[Clips], tmp_path: Path) -> None:
    path = clips.write(tmp_path / "c.mp4", "libx264", container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    numbers = [clips.number_of(frame) for frame in read_frames(path, sample_times(probe_video(path), 16))]
    assert numbers[:3] == [3, 9, 15]
    assert len(numbers) < 16


@pytest.mark.parametrize(
    ("name", "codec", "most"), [("c.mp4", "libx264", 8), ("c.mp4", "mpeg4", 8), ("c.mkv", "libx264", 30)]
)
def test_sampling_takes_the_keyframe_of_a_share_and_decodes_little_else(
    clips: type[Clips], tmp_path: Path, name: str, codec: str, most: int
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


def test_sampling_without_keyframes_skips_unreferenced_frames(clips: type[Clips], tmp_path: Path) -> None:
    path = clips.write(tmp_path / "c.mp4", "libx264", 250, gop=1000, options={"bf": "3", "sc_threshold": "0"})
    frames = list(sample_frames(path, probe_video(path), 8, VideoLimits(max_decoded=190)))
    numbers = [clips.number_of(frame) for frame in frames]
    np.testing.assert_allclose(numbers, [15 + 31 * i for i in range(8)], atol=4)


def read_error(path: Path) -> UnreadableVideo:
    """The error of `probe_video`, after checking that `read_frames` fails as well."""
    with pytest.raises(UnreadableVideo) as probed:
        probe_video(path)
    with pytest.raises(UnreadableVideo):
        next(read_frames(path, (0.0,)))
    assert probed.value.hint
    return probed.value


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"this is text, called .mp4\n" * 50,
        b"\0" * 5000,
        bytes(range(256)) * 40,
        b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        b"\0\0\0\x18ftypisom\0\0\0\0isomiso2",
        b"RIFF\x10\0\0\0AVI LIST",
        b"\x1aE\xdf\xa3" + b"\0" * 64,
        b"GIF89a",
    ],
)
def test_files_that_are_not_videos_are_rejected(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    read_error(path)
    assert capfd.readouterr().err == ""


def test_formats_that_libav_reads_but_the_list_excludes_are_rejected(clips: type[Clips], tmp_path: Path) -> None:
    raw = b"YUV4MPEG2 W16 H16 F25:1 Ip A1:1 C420\n" + (b"FRAME\n" + b"\x80" * 384) * 3
    for content in (raw, encode_png(clips.numbered_frame(1)), encode_jpeg(clips.numbered_frame(1))):
        path = tmp_path / "clip.mp4"
        path.write_bytes(content)
        with av.open(str(path)) as container:
            assert next(container.decode(video=0)).width in (16, clips.width)
        read_error(path)


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.ffconcat"])
def test_files_that_point_to_other_files_are_rejected(tmp_path: Path, mp4: Path, kind: str, name: str) -> None:
    shutil.copyfile(mp4, tmp_path / "secret.mp4")
    path = tmp_path / name
    path.write_text(PLAYLISTS[kind].format(target="secret.mp4"))
    read_error(path)


def test_libav_follows_the_playlist_without_the_list_of_containers(tmp_path: Path, mp4: Path) -> None:
    shutil.copyfile(mp4, tmp_path / "secret.mp4")
    path = tmp_path / "list.ffconcat"
    path.write_text(PLAYLISTS["concat"].format(target="secret.mp4"))
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 100


def test_audio_without_video_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        assert isinstance(stream, AudioStream)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "no video stream" in read_error(path).message


def test_a_video_stream_without_frames_is_rejected(clips: type[Clips], tmp_path: Path) -> None:
    for name, codec in (("none.mkv", "libx264"), ("none.avi", "mpeg4")):
        read_error(clips.write(tmp_path / name, codec, frames=0))


def test_missing_files_and_folders_are_rejected(tmp_path: Path) -> None:
    read_error(tmp_path / "missing.mp4")
    read_error(tmp_path)


def test_limits_on_bytes_and_pixels_are_enforced(mp4: Path) -> None:
    with pytest.raises(InputTooLarge, match="bytes"):
        probe_video(mp4, VideoLimits(max_bytes=1000))
    with pytest.raises(InputTooLarge, match="128 x 64"):
        list(read_frames(mp4, (0.0,), VideoLimits(max_pixels=128 * 64 - 1)))
    assert probe_video(mp4, VideoLimits(max_pixels=128 * 64, max_bytes=mp4.stat().st_size)).codec == "h264"


def test_the_file_name_is_not_interpreted(clips: type[Clips], mp4: Path, tmp_path: Path) -> None:
    for name in ("x", "clip.txt", "http:odd|name?.gif", "concat:a|b", "%03d.png", "-i"):
        path = tmp_path / name
        shutil.copyfile(mp4, path)
        assert clips.number_of(next(read_frames(path, (1.0,)))) == 25


def test_a_truncated_mp4_without_its_header_is_rejected(tmp_path: Path, mp4: Path) -> None:
    path = tmp_path / "c.mp4"
    path.write_bytes(mp4.read_bytes()[: mp4.stat().st_size // 2])
    read_error(path)


@pytest.mark.parametrize(
    ("name", "codec"), [("c.mp4", "libx264"), ("c.webm", "libvpx-vp9"), ("c.avi", "mpeg4"), ("c.gif", "gif")]
)
def test_flipped_bytes_give_frames_or_our_error(clips: type[Clips], tmp_path: Path, name: str, codec: str) -> None:
    rng = np.random.default_rng(2)
    whole = np.frombuffer(clips.write(tmp_path / name, codec, frames=30).read_bytes(), np.uint8)
    path = tmp_path / f"broken-{name}"
    for count in (3, 30, 300):
        for _ in range(5):
            data = whole.copy()
            data[rng.integers(0, len(data), count)] = rng.integers(0, 256, count)
            path.write_bytes(data.tobytes())
            try:
                info = probe_video(path)
                frames = list(read_frames(path, sample_times(info, 4)))
            except (UnreadableVideo, InputTooLarge):
                continue
            assert all(frame.rgb.ndim == 3 for frame in frames)


def test_a_reader_that_is_closed_early_closes_its_file(mp4: Path) -> None:
    frames = read_frames(mp4, (0.1, 1.0))
    next(frames)
    descriptors = Path("/proc/self/fd")
    if descriptors.exists():
        assert any(link.resolve() == mp4.resolve() for link in descriptors.iterdir())
        frames.close()  # type: ignore[attr-defined]
        assert not any(link.resolve() == mp4.resolve() for link in descriptors.iterdir() if link.exists())


def test_the_list_of_containers_has_libavs_names() -> None:
    for name in CONTAINERS.split(","):
        assert name in av.formats_available


# Files without an index


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("one.ts", "libx264", {}),
        ("one.mts", "libx264", {"container_options": {"mpegts_m2ts_mode": "1"}}),
        ("one.mpg", "mpeg1video", {}),
        ("one.vob", "mpeg2video", {}),
        ("piped.avi", "mpeg4", {"piped": True}),
        ("one.flv", "flv", {}),
    ],
)
def test_a_file_without_an_index_and_with_one_keyframe_gives_all_frames(
    clips: type[Clips], tmp_path: Path, name: str, codec: str, options: dict[str, Any]
) -> None:
    """No seek finds a frame behind the only keyframe: the file is read on from its start."""
    piped = options.pop("piped", False)
    path = clips.write(tmp_path / name, codec, frames=150, gop=600, **options)
    if piped:  # as written to a pipe: the index at the end is missing
        data = path.read_bytes()
        path.write_bytes(data[: data.rindex(b"idx1")])
    info = probe_video(path)
    assert info.duration_s == pytest.approx(6.0, abs=1.0)  # libav estimates it from the bit rate
    numbers = [clips.number_of(frame) for frame in sample_frames(path, info, 16)]
    assert len(numbers) == 16
    assert numbers == pytest.approx([round(time_s * clips.fps) for time_s in sample_times(info, 16)], abs=6)


def test_reading_past_the_end_of_a_file_without_an_index_stops(clips: type[Clips], tmp_path: Path) -> None:
    path = clips.write(tmp_path / "short.ts", "libx264", frames=50)
    assert [clips.number_of(frame) for frame in read_frames(path, (0.5, 1.9, 30.0, 60.0))] == [12, 47]


def test_the_default_stream_is_read_and_the_others_are_named(clips: type[Clips], tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for side, default in ((160, False), (128, True), (320, False)):
            stream = container.add_stream("mpeg4", rate=clips.fps)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = side, 64, "yuv420p"
            stream.disposition = Disposition.default if default else Disposition(0)
            streams.append(stream)
        for number in range(50):
            for stream in streams:
                rgb = clips.numbered_frame(number, stream.width, 64)
                frame = av.VideoFrame.from_ndarray(rgb if stream is streams[1] else rgb * 0, format="rgb24")
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    info = probe_video(path)
    assert (info.width_px, info.other_streams) == (128, ("160 x 64", "320 x 64"))
    assert [clips.number_of(frame) for frame in read_frames(path, (0.5, 1.0))] == [12, 25]


def test_without_a_default_stream_the_largest_is_read(clips: type[Clips], tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = []
        for side in (64, 128):
            stream = container.add_stream("mpeg4", rate=clips.fps)
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = side, 64, "yuv420p"
            stream.disposition = Disposition(0)
            streams.append(stream)
        for number in range(10):
            for stream in streams:
                rgb = clips.numbered_frame(number, stream.width, 64)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    assert probe_video(path).width_px == 128


def test_a_cover_image_without_a_flag_is_not_the_video(clips: type[Clips], tmp_path: Path) -> None:
    """It is larger, comes first and is the default; a stream of one frame beside another is a cover."""
    path = tmp_path / "cover.mkv"
    with av.open(str(path), "w") as container:
        cover, stream = container.add_stream("mjpeg", rate=clips.fps), container.add_stream("mpeg4", rate=clips.fps)
        assert isinstance(cover, VideoStream)
        assert isinstance(stream, VideoStream)
        cover.width, cover.height, cover.pix_fmt = 256, 256, "yuvj420p"
        stream.width, stream.height, stream.pix_fmt = clips.width, clips.height, "yuv420p"
        cover.disposition, stream.disposition = Disposition.default, Disposition(0)
        blank = np.full((256, 256, 3), 9, np.uint8)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(blank, format="rgb24")))
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(clips.numbered_frame(number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(cover.encode(None))
        container.mux(stream.encode(None))
    info = probe_video(path)
    assert (info.width_px, info.other_streams) == (clips.width, ())
    assert [clips.number_of(frame) for frame in read_frames(path, (0.5, 1.0))] == [12, 25]
