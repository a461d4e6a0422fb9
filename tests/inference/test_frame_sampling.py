from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import UnreadableVideo
from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.frame_sampling import _describe_left_out, detect_shots, resampling_times, shot_index
from deepfake_detector.inference.verdict import Shot
from deepfake_detector.media.video import VideoInfo
from deepfake_detector.model.bundle import Bundle


def histogram(*shares: float) -> NDArray[np.float32]:
    return np.array(shares, np.float32)


def test_a_cut_lies_half_way_between_frames_with_other_colours() -> None:
    blue, bluish, red = histogram(1, 0), histogram(0.7, 0.3), histogram(0.1, 0.9)
    shots = detect_shots([1, 3, 5, 7], [blue, bluish, red, red], 8.0)
    assert [(shot.start_s, shot.end_s) for shot in shots] == [(0, 4), (4, 8)]
    assert [shot_index(t_s, shots) for t_s in (0, 3, 5, 8, 9)] == [0, 0, 1, 1, 1]


def test_one_frame_is_one_shot_and_no_frame_is_none() -> None:
    assert [(s.start_s, s.end_s) for s in detect_shots([1.0], [histogram(1)], 2.0)] == [(0, 2)]
    assert detect_shots([], [], 2.0) == []


def test_a_shot_with_one_frame_is_sampled_again_on_both_sides_of_it() -> None:
    shots = [Shot(start_s=0, end_s=4), Shot(start_s=4, end_s=6), Shot(start_s=6, end_s=8)]
    assert resampling_times([1, 3, 5, 6.5, 7], shots) == [4.5, 5.5]
    assert resampling_times([5], shots[:1]) == []


@pytest.fixture
def cut_clip(red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8], tmp_path: Path) -> Path:
    """Eight seconds: a blue face on green; from 4 to 4.7 s a red face at the same position on white."""
    import av

    path = tmp_path / "cut.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 640, 256, "yuv420p", 4_000_000
        for i in range(80):
            red = 40 <= i < 47
            page = np.full((256, 640, 3), (250, 250, 250) if red else (30, 120, 40), np.uint8)
            page[:, :256] = red_portrait if red else blue_portrait
            container.mux(stream.encode(av.VideoFrame.from_ndarray(page, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_a_cut_ends_a_track_and_a_short_shot_is_sampled_again(tiny_bundle: Bundle, cut_clip: Path) -> None:
    answer = Detector(tiny_bundle).predict_video(cut_clip)
    assert [shot.start_s for shot in answer.shots] == pytest.approx([0, 4, 4.7], abs=0.3)
    assert [shot.end_s for shot in answer.shots] == pytest.approx([4, 4.7, 8], abs=0.3)
    assert [(track.p_fake or 0.0) > 0.6 for track in answer.tracks] == [False, True, False]
    assert answer.tracks[1].frames >= 2
    assert answer.tracks[1].long
    assert answer.p_fake == answer.tracks[1].p_fake
    assert len(answer.timeline) <= 24
    assert [point.t_s for point in answer.timeline] == sorted(point.t_s for point in answer.timeline)


def test_a_second_pass_that_fails_keeps_the_first(
    tiny_bundle: Bundle, cut_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UnreadableVideo("truncated")

    monkeypatch.setattr("deepfake_detector.inference.frame_sampling.read_frames", fail)
    answer = Detector(tiny_bundle).predict_video(cut_clip)
    assert len(answer.timeline) == 16
    assert len(answer.shots) == 3


def test_a_video_shorter_than_its_sound_is_sampled_over_its_own_length(
    tiny_bundle: Bundle, red_portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    """The file states 40 s, for its sound; its pictures end after 4 s."""
    path = write_clip(tmp_path / "long_sound.mkv", red_portrait, seconds=4, sound_s=40)
    answer = Detector(tiny_bundle).predict_video(path)
    assert len(answer.timeline) == 16
    assert answer.duration_s == pytest.approx(4.0, abs=0.2)
    assert answer.timeline[-1].t_s == pytest.approx(3.9, abs=0.2)
    assert answer.reasons[-1].startswith("the file states 40.")
    assert "but its pictures end after 4.0 s" in answer.reasons[-1]


def test_a_truncated_video_says_where_it_ends(
    tiny_bundle: Bundle, red_portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    whole = write_clip(tmp_path / "whole.mp4", red_portrait, seconds=8, options={"movflags": "faststart"})
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 4])
    answer = Detector(tiny_bundle).predict_video(path)
    assert 0 < len(answer.timeline) <= 16
    assert answer.duration_s < 4
    assert answer.reasons[-1] == f"the file states 8.0 s, but its pictures end after {answer.duration_s:.1f} s"


def test_far_fewer_frames_than_planned_are_mentioned() -> None:
    info = VideoInfo(8.0, 64, 64, 25.0, "h264", 0, 8.0)
    assert _describe_left_out(info, 16, 16) == _describe_left_out(info, 8, 16) == ()
    assert "only 7 of 16 planned frames were found" in _describe_left_out(info, 7, 16)[0]
    three_frames = VideoInfo(0.3, 64, 64, 10.0, "gif", 0, 0.3)
    assert _describe_left_out(three_frames, 3, 16) == ()


def test_other_video_streams_are_named(tiny_bundle: Bundle, red_portrait: NDArray[np.uint8], tmp_path: Path) -> None:
    path = write_clip(tmp_path / "two.mkv", red_portrait, seconds=2, second=(64, 64))
    answer = Detector(tiny_bundle).predict_video(path)
    assert answer.p_fake is not None
    assert answer.reasons[-1] == "1 other video stream(s) of the file were not analysed (64 x 64)"


def test_an_upside_down_video_is_scored_as_if_upright(
    tiny_bundle: Bundle, red_portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    detector = Detector(tiny_bundle)
    upright = detector.predict_video(write_clip(tmp_path / "upright.mkv", red_portrait, seconds=2))
    turned = detector.predict_video(write_clip(tmp_path / "turned.mkv", np.rot90(red_portrait, 2), seconds=2))
    assert upright.p_fake is not None
    assert turned.p_fake == pytest.approx(upright.p_fake, abs=0.05)
    assert any("on the side or upside down" in reason for reason in turned.reasons)
    assert not any("on the side or upside down" in reason for reason in upright.reasons)


def write_clip(
    path: Path,
    picture: NDArray[np.uint8],
    seconds: int,
    sound_s: int = 0,
    second: tuple[int, int] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """A still picture as a video of 10 frames per second, with sound or a second, black stream on request."""
    import av
    from av.stream import Disposition

    with av.open(str(path), "w", options=options or {}) as container:
        streams: list[av.VideoStream] = []
        for width, height in ((picture.shape[1], picture.shape[0]), *([second] if second else [])):
            stream = container.add_stream("mpeg4", rate=10)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", 2_000_000
            stream.disposition = Disposition(0) if streams else Disposition.default
            streams.append(stream)
        sound = container.add_stream("aac", rate=8000) if sound_s else None
        for _ in range(seconds * 10):
            for stream in streams:
                black = np.zeros((stream.height, stream.width, 3), np.uint8)
                page = np.ascontiguousarray(picture) if stream is streams[0] else black
                container.mux(stream.encode(av.VideoFrame.from_ndarray(page, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode())
        if isinstance(sound, av.AudioStream):
            for _ in range(sound_s * 8000 // 1024):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                frame.sample_rate = 8000
                container.mux(sound.encode(frame))
            container.mux(sound.encode())
    return path
