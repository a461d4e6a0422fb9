from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import UnreadableImage, UnreadableVideo
from deepfake_detector.inference.detector import Detector, ScoringLimits, Step
from deepfake_detector.inference.verdict import FaceVerdict, ImageVerdict, TrackVerdict, VideoVerdict
from deepfake_detector.media.image import encode_png
from deepfake_detector.media.image_stats import ImageStats
from deepfake_detector.model.bundle import Bundle


@pytest.fixture(scope="module")
def detector(tiny_bundle: Bundle) -> Detector:
    return Detector(tiny_bundle)


def score(verdict: ImageVerdict | VideoVerdict | FaceVerdict | TrackVerdict) -> float:
    assert verdict.p_fake is not None
    return verdict.p_fake


def test_the_tiny_model_calls_red_faces_fake_and_blue_ones_real(
    detector: Detector, red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8]
) -> None:
    assert detector.predict_image(encode_png(red_portrait)).verdict == "fake"
    assert detector.predict_image(encode_png(blue_portrait)).verdict == "real"


def test_the_landmarks_lie_in_the_box(detector: Detector, portrait: NDArray[np.uint8]) -> None:
    (face,) = detector.predict_image(encode_png(portrait)).faces
    x, y, width, height = face.box_px
    assert len(face.landmarks_px) == 5
    assert all(x <= px <= x + width and y <= py <= y + height for px, py in face.landmarks_px)


def test_an_image_has_explanations_and_a_posterior_on_request(
    detector: Detector, red_portrait: NDArray[np.uint8]
) -> None:
    data = encode_png(red_portrait)
    plain, full = detector.predict_image(data), detector.predict_image(data, explain=True, prior=0.001)
    assert (plain.faces[0].explanation, plain.posterior) == (None, None)
    assert full.faces[0].explanation is not None
    assert full.posterior is not None
    assert full.posterior.p_fake < score(full)
    assert (full.verdict, full.p_fake, full.reasons) == (plain.verdict, plain.p_fake, plain.reasons)


def test_several_faces_keep_their_own_scores(
    detector: Detector, red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8]
) -> None:
    answer = detector.predict_image(encode_png(np.concatenate([blue_portrait, red_portrait], axis=1)))
    from_the_left = [score(face) for face in sorted(answer.faces, key=lambda face: face.box_px[0])]
    assert len(from_the_left) == 2
    assert from_the_left[0] < 0.3 < 0.7 < from_the_left[1]
    assert answer.verdict == "fake"


def test_an_image_without_a_face_is_inconclusive(detector: Detector) -> None:
    answer = detector.predict_image(encode_png(np.full((200, 300, 3), 120, np.uint8)))
    assert (answer.verdict, answer.p_fake, answer.faces) == ("inconclusive", None, ())


def test_a_small_face_is_listed_without_a_score(tmp_path: Path, tiny: Any, red_portrait: NDArray[np.uint8]) -> None:
    strict = Detector(tiny.write_bundle(tmp_path / "bundle", min_face_px=200))
    answer = strict.predict_image(encode_png(red_portrait))
    assert (answer.verdict, answer.p_fake, len(answer.faces)) == ("inconclusive", None, 1)
    assert (answer.faces[0].problem or "").endswith("px, at least 200 are needed")


def test_faces_beyond_the_limit_are_listed_without_a_score(
    tiny_bundle: Bundle, red_portrait: NDArray[np.uint8]
) -> None:
    limited = Detector(tiny_bundle, ScoringLimits(max_faces=1))
    answer = limited.predict_image(encode_png(np.concatenate([red_portrait, red_portrait], axis=1)))
    assert [face.p_fake is None for face in answer.faces] == [False, True]
    assert answer.faces[1].problem == "only the 1 largest faces of a picture are scored"


def test_a_video_has_a_track_for_each_face(detector: Detector, clip: Path) -> None:
    answer = detector.predict_video(clip)
    assert answer.verdict == "fake"
    assert answer.duration_s == pytest.approx(2.0, abs=0.11)
    assert len(answer.timeline) == 16
    assert [point.faces for point in answer.timeline] == [1] * 8 + [2] * 8
    left, right = answer.tracks
    assert (left.frames, right.frames) == (16, 8)
    assert score(left) < 0.3 < 0.7 < score(right)
    assert right.start_s >= 1.0 > answer.timeline[7].t_s
    assert {face.track for face in answer.faces if face.box_px[0] > 320} == {1}


def test_a_video_explains_its_evidence_frames_on_request(detector: Detector, clip: Path) -> None:
    answer = detector.predict_video(clip, explain=True, prior=0.01)
    assert [frame.track for frame in answer.best_frames] == [1, 1, 1]
    for frame in answer.best_frames:
        face = answer.faces[frame.face]
        assert (face.t_s, face.track, face.p_fake) == (frame.t_s, frame.track, frame.p_fake)
        assert frame.explanation is not None
        assert all(x > 320 for x, _ in frame.explanation.corners_px)
    assert answer.posterior is not None
    assert answer.posterior.p_fake < score(answer)
    plain = detector.predict_video(clip)
    assert [frame.explanation for frame in plain.best_frames] == [None] * 3
    assert (plain.posterior, plain.verdict, plain.p_fake) == (None, answer.verdict, answer.p_fake)


def test_the_number_of_frames_can_be_limited(tiny_bundle: Bundle, clip: Path) -> None:
    assert len(Detector(tiny_bundle, ScoringLimits(frames=4)).predict_video(clip).timeline) == 4


def test_a_video_without_a_face_is_inconclusive(detector: Detector, tmp_path: Path) -> None:
    import av

    path = tmp_path / "grey.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 100, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    answer = detector.predict_video(path)
    assert (answer.verdict, answer.p_fake, answer.faces) == ("inconclusive", None, ())


def test_other_files_are_rejected(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage):
        detector.predict_image(b"junk")
    (tmp_path / "text.mp4").write_text("hello, this is text")
    with pytest.raises(UnreadableVideo):
        detector.predict_video(tmp_path / "text.mp4")


class Recorder:
    """Keeps what an observer receives."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.seconds: list[float] = []
        self.crops: list[int] = []

    def step_done(self, step: Step, seconds: float) -> None:
        self.steps.append(step)
        self.seconds.append(seconds)

    def crops_measured(self, stats: Sequence[ImageStats]) -> None:
        self.crops.append(len(stats))


def test_an_observer_gets_the_time_of_each_step_and_the_statistics_of_the_crops(
    tiny_bundle: Bundle, red_portrait: NDArray[np.uint8], clip: Path
) -> None:
    recorder, plain = Recorder(), Detector(tiny_bundle, streams=1)
    observed = Detector(tiny_bundle, streams=1, observer=recorder)
    data = encode_png(red_portrait)
    assert observed.predict_image(data) == plain.predict_image(data)
    assert (recorder.steps, recorder.crops) == (["find", "score"], [1])
    assert observed.predict_video(clip) == plain.predict_video(clip)
    assert recorder.steps[2:] == ["find"] * 16 + ["score"]
    assert recorder.crops == [1, 16]
    assert min(recorder.seconds) > 0
    observed.predict_image(encode_png(np.zeros((64, 64, 3), np.uint8)))
    assert recorder.crops == [1, 16]  # without a face there is nothing to measure


def test_threads_get_the_same_answers(
    detector: Detector, red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8]
) -> None:
    files = [encode_png(red_portrait), encode_png(blue_portrait)]
    alone = [detector.predict_image(data) for data in files]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(detector.predict_image, files * 16)) == alone * 16
