"""Files that people reported, outside the repository: the same answer from the command line's code and a worker.

Each fault that they showed has tests of its own, with files that the tests make; see docs/security.md.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deepfake_detector.errors import DetectorError
from deepfake_detector.inference.detector import Detector
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving.messages import Job
from deepfake_detector.serving.worker import Measurements, process_job

CASES = Path(__file__).parents[3] / "shared" / "cases"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is not part of the repository")


@dataclass(frozen=True)
class Expected:
    """What must be found: scored faces (of all frames), frames, seconds, a part of the reasons; or an error's code."""

    kind: str
    faces: int = 1
    frames: int = 0
    seconds: float = 0.0
    reason: str = ""
    error: str = ""
    credentials: str = "absent"


EXPECTED = {
    "audio60_video6.mkv": Expected("video", 16, 16, 6.0, "its pictures end after 6.0 s"),
    "bigtiff.tif": Expected("image"),
    "blank_first.gif": Expected("video", 3, 4, 1.2),
    "blank_first.webp": Expected("video", 3, 4, 1.2),
    "c2pa_remote_manifest.jpg": Expected("image", credentials="unread"),
    "jpeg-scans-20k.jpg": Expected("image", error="too_large"),
    "long_screenshot.png": Expected("image"),
    "one_keyframe.ts": Expected("video", 16, 16, 6.0),
    "second_stream_default.mkv": Expected("video", 16, 16, 6.0, "1 other video stream(s)"),
    "small_face_24mp.jpg": Expected("image"),
    "thumb_in_ifd0.dng": Expected("image", reason="its preview of 256 x 256 px was scored"),
    "tif16_chunky_same_pixels.tif": Expected("image"),
    "tif16_planar.tif": Expected("image"),
    "webp-lossless-49m.webp": Expected("image", error="too_large"),
}


@pytest.fixture(scope="module")
def detector(tiny_bundle: Bundle) -> Detector:
    return Detector(tiny_bundle)


def from_a_worker(detector: Detector, path: Path, kind: Any) -> dict[str, Any]:
    """The answer over HTTP, without HTTP."""
    _, body = process_job(detector, Measurements(), Job(kind=kind), os.open(path, os.O_RDONLY))
    content: dict[str, Any] = json.loads(body)
    return content


@pytest.mark.parametrize("name", EXPECTED)
def test_a_reported_file_gets_its_answer_at_all_entrances(detector: Detector, name: str) -> None:
    expected, path = EXPECTED[name], CASES / name
    served = from_a_worker(detector, path, expected.kind)
    if expected.error:
        with pytest.raises(DetectorError) as caught:
            detector.predict_file(path)
        assert (caught.value.code, served["error"]["code"]) == (expected.error, expected.error)
        return
    answer = detector.predict_file(path).model_dump(mode="json")
    assert answer == served
    assert answer["kind"] == expected.kind
    assert sum(face["p_fake"] is not None for face in answer["faces"]) == expected.faces
    assert len(answer.get("timeline", ())) == expected.frames
    assert answer.get("duration_s", 0.0) == pytest.approx(expected.seconds, abs=0.1)
    assert expected.reason in " ".join(answer["reasons"])
    assert answer["content_credentials"]["state"] == expected.credentials


def test_the_same_pixels_in_another_layout_get_the_same_score(detector: Detector) -> None:
    scores = {name: detector.predict_file(CASES / name).p_fake for name in EXPECTED if name.startswith("tif16")}
    assert len(set(scores.values())) == 1
    assert None not in scores.values()


def test_all_reported_files_are_known() -> None:
    assert {path.name for path in CASES.iterdir()} == set(EXPECTED)
