"""Clips made here, in every container, give the frames that are shown at the seconds asked for; the rest gets an error.

Every frame carries its number as eight black or white stripes, which survive any codec.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import InputTooLarge, UnreadableVideo
from deepfake_detector.media import video as module
from deepfake_detector.media.image import encode_jpeg, encode_png
from deepfake_detector.media.video import Frame, VideoInfo, VideoLimits, probe_video, read_frames, sample_times

WIDTH, HEIGHT, FPS = 128, 64, 25


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Eight stripes for the number's bits; the lower half is red, so that turns and colours show."""
    picture = np.zeros((height, width, 3), np.uint8)
    for bit in range(8):
        picture[:, bit * width // 8 : (bit + 1) * width // 8] = 230 if number >> bit & 1 else 20
    picture[height // 2 :] = (200, 30, 30)
    return picture


def number_of(frame: Frame) -> int:
    rgb = frame.rgb
    middle = [int(rgb[rgb.shape[0] // 4, (2 * bit + 1) * rgb.shape[1] // 16, 1] > 128) << bit for bit in range(8)]
    return sum(middle)


def clip(
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
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
        stream.gop_size, stream.bit_rate = gop, 2_000_000
        for name, value in stream_options.items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            stream.set_display_rotation(*rotation)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            frame.pts = ticks[number] if ticks else number
            frame.time_base = Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("clips") / "clip.mp4", "libx264", options={"bf": "3"})


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
]


@pytest.mark.parametrize(("name", "codec"), CONTAINERS)
def test_every_container_gives_the_frames_shown_at_the_seconds(tmp_path: Path, name: str, codec: str) -> None:
    path = clip(tmp_path / name, codec)
    info = probe_video(path)
    assert (info.width_px, info.height_px) == (WIDTH, HEIGHT)
    assert info.duration_s == pytest.approx(4.0, abs=0.1)
    assert info.full_duration_s == info.duration_s
    times_s = (0.01, 0.5, 0.58, 1.7, 3.3, 3.31, 3.9)
    found = list(read_frames(path, times_s))
    assert [number_of(frame) for frame in found] == [0, 12, 14, 42, 82, 97]  # 3.3 and 3.31 s are one frame
    for frame, time_s in zip(found, (0.01, 0.5, 0.58, 1.7, 3.3, 3.9), strict=True):
        assert frame.rgb.shape == (HEIGHT, WIDTH, 3)
        assert frame.rgb.dtype == np.uint8
        assert -0.002 < time_s - frame.t_s < 0.042


@pytest.mark.parametrize(("name", "codec"), [("clip.avi", "libx264"), ("clip.mpg", "mpeg2video")])
def test_containers_that_state_only_some_times_are_near(tmp_path: Path, name: str, codec: str) -> None:
    path = clip(tmp_path / name, codec, options={"bf": "2"})
    assert probe_video(path).duration_s == pytest.approx(4.0, abs=0.5)
    numbers = [number_of(frame) for frame in read_frames(path, (0.5, 1.7, 3.3))]
    np.testing.assert_allclose(numbers, [12, 42, 82], atol=3)


@pytest.mark.parametrize("gop", [1, 10, 1000])
@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "libx264"), ("clip.mkv", "libx264"), ("clip.avi", "mpeg4")])
def test_any_distance_of_keyframes_and_any_step_gives_the_same_frames(
    tmp_path: Path, name: str, codec: str, gop: int
) -> None:
    path = clip(tmp_path / name, codec, 250, gop=gop)
    for step in (3, 17, 60, 121):
        wanted = list(range(0, 250, step))
        found = read_frames(path, [(number + 0.4) / FPS for number in wanted])
        assert [number_of(frame) for frame in found] == wanted


def test_seeking_decodes_little_and_reading_on_decodes_nothing_twice(
    mp4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = clip(mp4.with_name("long.mp4"), "libx264", 250, gop=12)
    assert [number_of(f) for f in read_frames(long, (2.01, 9.0), VideoLimits(max_decoded=40))] == [50, 225]
    every = [(n + 0.5) / FPS for n in range(250)]
    assert len(list(read_frames(long, every, VideoLimits(max_decoded=250)))) == 250


def test_too_much_decoding_is_refused(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4", frames=200, gop=1000)
    with pytest.raises(InputTooLarge, match="50 frames"):
        list(read_frames(path, (7.9,), VideoLimits(max_decoded=50)))


def test_times_are_taken_in_order_and_past_the_ends(mp4: Path) -> None:
    assert [number_of(frame) for frame in read_frames(mp4, (1e6, 2.0, -5.0, 0.0, 50.0))] == [0, 50, 99]
    assert list(read_frames(mp4, ())) == []


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_uneven_frame_times(tmp_path: Path, name: str) -> None:
    ticks = [0, 1, 2, 50, 51, 52, 53, 200, 201, 260]
    path = clip(tmp_path / name, "libx264", len(ticks), ticks=ticks, gop=4)
    asked = (0.05, 1.9, 2.01, 7.9, 8.01, 10.0, 10.41)
    assert [number_of(frame) for frame in read_frames(path, asked)] == [1, 2, 3, 6, 7, 8, 9]


def test_a_live_webm_without_duration_and_index(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.webm", "libvpx", container_options={"live": "1", "cluster_time_limit": "500"})
    with av.open(str(path)) as container:
        assert container.duration is None, "the fixture must lack what the test is about"
    assert probe_video(path).duration_s == pytest.approx(4.0, abs=0.1)
    assert [number_of(frame) for frame in read_frames(path, (0.5, 2.5, 3.9))] == [12, 62, 97]


def test_a_clip_that_does_not_start_at_zero_is_counted_from_its_first_frame(tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.ts", "mpeg2video", ticks=range(1000, 1100))
    frames = list(read_frames(path, (0.0, 2.0)))
    assert [number_of(frame) for frame in frames] == [0, 50]
    assert frames[0].t_s == pytest.approx(0, abs=0.001)
    late = clip(tmp_path / "late.ts", "mpeg2video", 250, ticks=range(1000, 1250))
    assert [number_of(frame) for frame in read_frames(late, (9.0,), VideoLimits(max_decoded=60))] == [225]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_rotation_is_applied_as_players_do(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    """Stored frames are turned anticlockwise, then mirrored, as the header's display matrix asks."""
    path = clip(tmp_path / "phone.mp4", frames=5, rotation=(degrees, mirrored))
    info = probe_video(path)
    rgb = next(read_frames(path, (0.1,))).rgb
    shown = np.rot90(numbered(2), degrees // 90)
    shown = np.fliplr(shown) if mirrored else shown
    assert rgb.shape == shown.shape == (info.height_px, info.width_px, 3)
    assert np.abs(rgb.astype(int) - shown).mean() < 12
    if not mirrored:
        assert info.rotation_deg == degrees
        with av.open(str(path)) as container:  # PyAV's own reading of the same matrix
            assert next(container.decode(video=0)).rotation % 360 == degrees


def test_colours_and_white_stay(mp4: Path) -> None:
    rgb = next(read_frames(mp4, (2.0,))).rgb.astype(int)
    assert np.abs(rgb - numbered(50)).mean() < 8


def test_pixels_that_are_not_square_are_made_so(tmp_path: Path) -> None:
    path = clip(tmp_path / "dv.mkv", frames=3, sample_aspect_ratio=Fraction(3, 2))
    assert probe_video(path).width_px == 192
    frame = next(read_frames(path, (0.05,)))
    assert frame.rgb.shape == (64, 192, 3)
    assert number_of(frame) == 1


def test_sample_times_lie_in_the_middle_of_equal_shares() -> None:
    info = VideoInfo(8.0, 1, 1, 25.0, "h264", 0, 8.0)
    assert sample_times(info, 4) == (1.0, 3.0, 5.0, 7.0)
    assert sample_times(info, 1) == (4.0,)
    assert sample_times(info, 0) == ()


def test_a_long_video_is_sampled_in_its_first_part_only(mp4: Path) -> None:
    info = probe_video(mp4, VideoLimits(max_duration_s=2.0))
    assert info.duration_s == 2.0
    assert info.full_duration_s == pytest.approx(4.0, abs=0.05)
    assert max(sample_times(info, 16)) < 2.0


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    for name, codec in (("still.gif", "gif"), ("still.mp4", "mpeg4")):
        path = clip(tmp_path / name, codec, frames=1)
        assert len(list(read_frames(path, sample_times(probe_video(path), 16)))) == 1


def test_the_name_does_not_matter(mp4: Path, tmp_path: Path) -> None:
    for name in ("x", "clip.txt", "http:odd|name?.gif", "concat:a|b", "%03d.png", "-i"):
        path = tmp_path / name
        shutil.copyfile(mp4, path)
        assert number_of(next(read_frames(path, (1.0,)))) == 25


def both_refuse(path: Path) -> UnreadableVideo:
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
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    both_refuse(path)
    assert capfd.readouterr().err == ""


def test_what_libav_could_play_but_is_not_in_the_list_is_refused(tmp_path: Path) -> None:
    raw = b"YUV4MPEG2 W16 H16 F25:1 Ip A1:1 C420\n" + (b"FRAME\n" + b"\x80" * 384) * 3
    for content in (raw, encode_png(numbered(1)), encode_jpeg(numbered(1))):
        path = tmp_path / "clip.mp4"
        path.write_bytes(content)
        with av.open(str(path)) as container:
            assert next(container.decode(video=0)).width in (16, WIDTH)
        both_refuse(path)


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


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.ffconcat"])
def test_files_that_point_at_other_files_are_refused(tmp_path: Path, mp4: Path, kind: str, name: str) -> None:
    shutil.copyfile(mp4, tmp_path / "secret.mp4")
    path = tmp_path / name
    path.write_text(PLAYLISTS[kind].format(target="secret.mp4"))
    both_refuse(path)


def test_the_playlist_above_would_be_followed_without_the_list_of_containers(tmp_path: Path, mp4: Path) -> None:
    shutil.copyfile(mp4, tmp_path / "secret.mp4")
    path = tmp_path / "list.ffconcat"
    path.write_text(PLAYLISTS["concat"].format(target="secret.mp4"))
    with av.open(str(path)) as container:
        assert len(list(container.decode(video=0))) == 100


def test_sound_without_a_picture_is_refused_even_with_a_cover(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "no picture track" in both_refuse(path).message


def test_no_such_file_and_a_folder(tmp_path: Path) -> None:
    both_refuse(tmp_path / "missing.mp4")
    both_refuse(tmp_path)


def test_limits_on_bytes_and_pixels(mp4: Path) -> None:
    with pytest.raises(InputTooLarge, match="bytes"):
        probe_video(mp4, VideoLimits(max_bytes=1000))
    with pytest.raises(InputTooLarge, match="128 x 64"):
        list(read_frames(mp4, (0.0,), VideoLimits(max_pixels=128 * 64 - 1)))
    assert probe_video(mp4, VideoLimits(max_pixels=128 * 64, max_bytes=mp4.stat().st_size)).codec == "h264"


@pytest.mark.parametrize(
    ("name", "codec"), [("c.mkv", "libx264"), ("c.ts", "mpeg2video"), ("c.avi", "mpeg4"), ("c.webm", "libvpx")]
)
def test_a_file_cut_short_gives_what_is_left(tmp_path: Path, name: str, codec: str) -> None:
    path = clip(tmp_path / name, codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    probe_video(path)
    numbers = [number_of(frame) for frame in read_frames(path, np.arange(0.02, 4, 0.2).tolist())]
    assert numbers[:4] == [0, 5, 10, 15]
    assert 4 < len(numbers) < 20
    assert numbers == sorted(numbers)


def test_an_mp4_with_its_header_in_front_cut_short(tmp_path: Path) -> None:
    path = clip(tmp_path / "c.mp4", "libx264", container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    numbers = [number_of(frame) for frame in read_frames(path, sample_times(probe_video(path), 16))]
    assert numbers[:3] == [3, 9, 15]
    assert len(numbers) < 16


def test_an_mp4_whose_header_is_cut_off_is_refused(tmp_path: Path, mp4: Path) -> None:
    path = tmp_path / "c.mp4"
    path.write_bytes(mp4.read_bytes()[: mp4.stat().st_size // 2])
    both_refuse(path)


@pytest.mark.parametrize(
    ("name", "codec"), [("c.mp4", "libx264"), ("c.webm", "libvpx-vp9"), ("c.avi", "mpeg4"), ("c.gif", "gif")]
)
def test_flipped_bytes_give_frames_or_our_error(tmp_path: Path, name: str, codec: str) -> None:
    random = np.random.default_rng(2)
    whole = np.frombuffer(clip(tmp_path / name, codec, frames=30).read_bytes(), np.uint8)
    path = tmp_path / f"broken-{name}"
    for count in (3, 30, 300):
        for _ in range(5):
            data = whole.copy()
            data[random.integers(0, len(data), count)] = random.integers(0, 256, count)
            path.write_bytes(data.tobytes())
            try:
                info = probe_video(path)
                frames = list(read_frames(path, sample_times(info, 4)))
            except (UnreadableVideo, InputTooLarge):
                continue
            assert all(frame.rgb.ndim == 3 for frame in frames)


def test_reading_twice_gives_the_same_bytes(mp4: Path) -> None:
    once, again = (list(read_frames(mp4, (0.3, 1.1, 3.0))) for _ in range(2))
    for a, b in zip(once, again, strict=True):
        assert a.t_s == b.t_s
        np.testing.assert_array_equal(a.rgb, b.rgb)


def test_a_reader_that_is_left_early_closes_its_file(mp4: Path) -> None:
    frames = read_frames(mp4, (0.1, 1.0))
    next(frames)
    open_now = Path("/proc/self/fd")
    if open_now.exists():
        assert any(link.resolve() == mp4.resolve() for link in open_now.iterdir())
        frames.close()  # type: ignore[attr-defined]
        assert not any(link.resolve() == mp4.resolve() for link in open_now.iterdir() if link.exists())


def test_the_allow_list_is_what_libav_calls_them() -> None:
    for name in module.CONTAINERS.split(","):
        assert name in av.formats_available
