from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.inference.detector import Detector
from deepfake_detector.media.image import encode_jpeg, encode_png
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.scanning.score_files import Judge


@pytest.fixture
def folder(tmp_path: Path, red_portrait: NDArray[np.uint8], blue_portrait: NDArray[np.uint8], clip: Path) -> Path:
    (tmp_path / "red.png").write_bytes(encode_png(red_portrait))
    (tmp_path / "blue.txt").write_bytes(encode_png(blue_portrait))  # names are not believed
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "grey.png").write_bytes(encode_png(np.full((99, 99, 3), 99, np.uint8)))
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "cut.jpg").write_bytes(encode_jpeg(red_portrait)[:2000])
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "notes.txt").write_text("no picture, and does not claim to be one")
    return tmp_path


def test_answers_are_those_of_predict_to_the_last_digit(folder: Path, tiny_bundle: Bundle) -> None:
    red, blue, clip, grey = Judge(folder, tiny_bundle.path)(["red.png", "blue.txt", "clip.mp4", "grey.png"])
    detector = Detector(tiny_bundle)
    for row in (red, blue, clip, grey):
        assert row is not None
        answer = detector.file(folder / row.path)
        assert (row.p_fake, row.verdict, row.kind) == (answer.p_fake, answer.verdict, answer.kind)
        assert row.reason == "; ".join(answer.reasons)
        assert row.error is None
    assert (red.verdict, red.kind_of_fake, red.faces, red.bytes) == (
        "fake", "swap", 1, (folder / "red.png").stat().st_size
    )  # fmt: skip
    assert red.kind_share == pytest.approx(0.75, abs=0.01)
    assert (blue.verdict, blue.kind_of_fake, blue.kind_share) == ("real", None, None)
    assert (clip.kind, clip.faces) == ("video", 2)
    assert (grey.verdict, grey.p_fake, grey.faces) == ("inconclusive", None, 0)


def test_errors_are_rows_and_what_is_no_medium_is_none(folder: Path, tiny_bundle: Bundle) -> None:
    names = ["text.jpg", "cut.jpg", "empty.mp4", "gone.jpg", "notes.txt"]
    text, cut, empty, gone, notes = Judge(folder, tiny_bundle.path)(names)
    assert [row.error.split(":")[0] for row in (text, cut, empty, gone)] == [
        "unreadable_video", "unreadable_image", "unreadable_video", "bad_input"
    ]  # fmt: skip
    assert (cut.bytes, empty.bytes, gone.bytes) == (2000, 0, None)
    assert all(row.verdict is None and row.p_fake is None for row in (text, cut, empty, gone))
    assert notes is None


def test_digests_are_added_when_asked_for(folder: Path, tiny_bundle: Bundle) -> None:
    (row,) = Judge(folder, tiny_bundle.path, with_sha256=True)(["text.jpg"])
    assert row.sha256 == hashlib.sha256(b"no picture").hexdigest()


def test_a_failure_inside_is_a_row_too(folder: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no luck")

    monkeypatch.setattr(Detector, "judge", broken)
    (row,) = Judge(folder, tiny_bundle.path)(["red.png"])
    assert row.error == "tool_failed: ZeroDivisionError: no luck"


def test_it_travels_light(folder: Path, tiny_bundle: Bundle) -> None:
    judge = Judge(folder, tiny_bundle.path)
    copy = pickle.loads(pickle.dumps(judge))
    assert copy == judge
    assert hash(copy) == hash(judge)
    assert len(pickle.dumps(judge)) < 2000
