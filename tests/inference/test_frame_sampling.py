from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import UnreadableVideo
from deepfake_detector.inference.detector import Detector
from deepfake_detector.inference.frame_sampling import detect_shots, resampling_times, shot_index
from deepfake_detector.inference.verdict import Shot
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
