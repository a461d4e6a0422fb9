"""Broken, mislabelled and malicious files get an error that helps; none makes libav open another file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from deepfake_detector.errors import InputTooLarge, UnreadableVideo
from deepfake_detector.media.image import encode_jpeg, encode_png
from deepfake_detector.media.video import probe_video, read_frames, sample_times
from deepfake_detector.media.video_limits import VideoLimits
from deepfake_detector.media.video_stream import CONTAINERS


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


def test_what_libav_could_play_but_is_not_in_the_list_is_refused(clips: Any, tmp_path: Path) -> None:
    raw = b"YUV4MPEG2 W16 H16 F25:1 Ip A1:1 C420\n" + (b"FRAME\n" + b"\x80" * 384) * 3
    for content in (raw, encode_png(clips.numbered(1)), encode_jpeg(clips.numbered(1))):
        path = tmp_path / "clip.mp4"
        path.write_bytes(content)
        with av.open(str(path)) as container:
            assert next(container.decode(video=0)).width in (16, clips.width)
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


def test_a_picture_track_without_a_single_frame_is_refused(clips: Any, tmp_path: Path) -> None:
    for name, codec in (("none.mkv", "libx264"), ("none.avi", "mpeg4")):
        both_refuse(clips.write(tmp_path / name, codec, frames=0))


def test_no_such_file_and_a_folder(tmp_path: Path) -> None:
    both_refuse(tmp_path / "missing.mp4")
    both_refuse(tmp_path)


def test_limits_on_bytes_and_pixels(mp4: Path) -> None:
    with pytest.raises(InputTooLarge, match="bytes"):
        probe_video(mp4, VideoLimits(max_bytes=1000))
    with pytest.raises(InputTooLarge, match="128 x 64"):
        list(read_frames(mp4, (0.0,), VideoLimits(max_pixels=128 * 64 - 1)))
    assert probe_video(mp4, VideoLimits(max_pixels=128 * 64, max_bytes=mp4.stat().st_size)).codec == "h264"


def test_the_name_does_not_matter(clips: Any, mp4: Path, tmp_path: Path) -> None:
    for name in ("x", "clip.txt", "http:odd|name?.gif", "concat:a|b", "%03d.png", "-i"):
        path = tmp_path / name
        shutil.copyfile(mp4, path)
        assert clips.number_of(next(read_frames(path, (1.0,)))) == 25


def test_an_mp4_whose_header_is_cut_off_is_refused(tmp_path: Path, mp4: Path) -> None:
    path = tmp_path / "c.mp4"
    path.write_bytes(mp4.read_bytes()[: mp4.stat().st_size // 2])
    both_refuse(path)


@pytest.mark.parametrize(
    ("name", "codec"), [("c.mp4", "libx264"), ("c.webm", "libvpx-vp9"), ("c.avi", "mpeg4"), ("c.gif", "gif")]
)
def test_flipped_bytes_give_frames_or_our_error(clips: Any, tmp_path: Path, name: str, codec: str) -> None:
    random = np.random.default_rng(2)
    whole = np.frombuffer(clips.write(tmp_path / name, codec, frames=30).read_bytes(), np.uint8)
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


def test_a_reader_that_is_left_early_closes_its_file(mp4: Path) -> None:
    frames = read_frames(mp4, (0.1, 1.0))
    next(frames)
    open_now = Path("/proc/self/fd")
    if open_now.exists():
        assert any(link.resolve() == mp4.resolve() for link in open_now.iterdir())
        frames.close()  # type: ignore[attr-defined]
        assert not any(link.resolve() == mp4.resolve() for link in open_now.iterdir() if link.exists())


def test_the_allow_list_is_what_libav_calls_them() -> None:
    for name in CONTAINERS.split(","):
        assert name in av.formats_available
