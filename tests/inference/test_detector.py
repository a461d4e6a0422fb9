from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.errors import UnreadableImage, UnreadableVideo
from deepfake_detector.inference.detector import Detector, ScoringLimits
from deepfake_detector.media.image import encode_png
from deepfake_detector.model.bundle import Bundle


@pytest.fixture(scope="module")
def detector(tiny_bundle: Bundle) -> Detector:
    return Detector(tiny_bundle)


def test_a_red_face_is_fake_and_a_blue_one_real_to_the_tiny_model(
    detector: Detector, red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8]
) -> None:
    assert detector.image(encode_png(red_portrait)).verdict == "fake"
    assert detector.image(encode_png(blue_portrait)).verdict == "real"


def test_the_box_holds_the_landmarks(detector: Detector, portrait: NDArray[np.uint8]) -> None:
    (face,) = detector.image(encode_png(portrait)).faces
    x, y, width, height = face.box_px
    assert len(face.landmarks_px) == 5
    assert all(x <= px <= x + width and y <= py <= y + height for px, py in face.landmarks_px)


def test_an_image_is_explained_and_weighed_by_a_prior_when_asked(
    detector: Detector, red_portrait: NDArray[np.uint8]
) -> None:
    data = encode_png(red_portrait)
    plain, full = detector.image(data), detector.image(data, explain=True, prior=0.001)
    assert (plain.faces[0].explanation, plain.posterior) == (None, None)
    assert full.faces[0].explanation is not None
    assert full.posterior is not None
    assert full.posterior.p_fake < full.p_fake
    assert (full.verdict, full.p_fake, full.reasons) == (plain.verdict, plain.p_fake, plain.reasons)


def test_several_faces_keep_their_own_scores(
    detector: Detector, red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8]
) -> None:
    answer = detector.image(encode_png(np.concatenate([blue_portrait, red_portrait], axis=1)))
    by_place = [face.p_fake for face in sorted(answer.faces, key=lambda face: face.box_px[0])]
    assert len(by_place) == 2
    assert by_place[0] < 0.3 < 0.7 < by_place[1]
    assert answer.verdict == "fake"


def test_a_picture_without_a_face_is_inconclusive(detector: Detector) -> None:
    answer = detector.image(encode_png(np.full((200, 300, 3), 120, np.uint8)))
    assert (answer.verdict, answer.p_fake, answer.faces) == ("inconclusive", None, ())


def test_a_small_face_is_named_and_not_scored(tmp_path: Path, tiny: Any, red_portrait: NDArray[np.uint8]) -> None:
    strict = Detector(tiny.write_bundle(tmp_path / "bundle", min_face_px=200))
    answer = strict.image(encode_png(red_portrait))
    assert (answer.verdict, answer.p_fake, len(answer.faces)) == ("inconclusive", None, 1)
    assert (answer.faces[0].problem or "").endswith("px, at least 200 are needed")


def test_faces_beyond_the_limit_are_listed_as_not_judged(tiny_bundle: Bundle, red_portrait: NDArray[np.uint8]) -> None:
    one = Detector(tiny_bundle, ScoringLimits(max_faces=1))
    answer = one.image(encode_png(np.concatenate([red_portrait, red_portrait], axis=1)))
    assert [face.p_fake is None for face in answer.faces] == [False, True]
    assert answer.faces[1].problem == "only the 1 largest faces of a picture are judged"


def test_a_video_finds_both_people_and_follows_them(detector: Detector, clip: Path) -> None:
    answer = detector.video(clip)
    assert answer.verdict == "fake"
    assert answer.duration_s == pytest.approx(2.0, abs=0.11)
    assert len(answer.timeline) == 16
    assert [moment.faces for moment in answer.timeline] == [1] * 8 + [2] * 8
    left, right = answer.tracks
    assert (left.frames, right.frames) == (16, 8)
    assert left.p_fake < 0.3 < 0.7 < right.p_fake
    assert right.start_s >= 1.0 > answer.timeline[7].t_s
    assert {face.track for face in answer.faces if face.box_px[0] > 320} == {1}


def test_a_video_names_its_best_frames_and_explains_them_when_asked(detector: Detector, clip: Path) -> None:
    answer = detector.video(clip, explain=True, prior=0.01)
    assert [best.track for best in answer.best_frames] == [1, 1, 1]
    for best in answer.best_frames:
        face = answer.faces[best.face]
        assert (face.t_s, face.track, face.p_fake) == (best.t_s, best.track, best.p_fake)
        assert best.explanation is not None
        assert all(x > 320 for x, _ in best.explanation.corners_px)
    assert answer.posterior is not None
    assert answer.posterior.p_fake < answer.p_fake
    plain = detector.video(clip)
    assert [best.explanation for best in plain.best_frames] == [None] * 3
    assert (plain.posterior, plain.verdict, plain.p_fake) == (None, answer.verdict, answer.p_fake)


def test_fewer_frames_may_be_asked_for(tiny_bundle: Bundle, clip: Path) -> None:
    assert len(Detector(tiny_bundle, ScoringLimits(frames=4)).video(clip).timeline) == 4


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
    answer = detector.video(path)
    assert (answer.verdict, answer.p_fake, answer.faces) == ("inconclusive", None, ())


def test_what_is_no_picture_or_video_is_refused(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage):
        detector.image(b"junk")
    (tmp_path / "text.mp4").write_text("hello, this is text")
    with pytest.raises(UnreadableVideo):
        detector.video(tmp_path / "text.mp4")


def test_the_same_input_gives_the_same_answer_in_every_thread(
    detector: Detector, red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8]
) -> None:
    files = [encode_png(red_portrait), encode_png(blue_portrait)]
    alone = [detector.image(data) for data in files]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(detector.image, files * 16)) == alone * 16
