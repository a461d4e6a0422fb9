"""Pictures and videos that are thousands of times longer than wide get an answer at all entrances: no face."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.cli.predict import _predict_one
from deepfake_detector.inference.detector import Detector
from deepfake_detector.media.face_alignment import align_face, measure_overshoot
from deepfake_detector.media.face_detector import Face, FaceDetector
from deepfake_detector.model.bundle import Bundle
from deepfake_detector.serving.messages import Job
from deepfake_detector.serving.worker import Measurements, process_job

# Width and height. In tiles (0.4 of the size) a side of one pixel would become none.
SIZES = [(1, 20_000), (20_000, 1), (2, 30_000), (30_000, 2), (1, 1), (11, 30_000)]


def noise(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encoded(frames: list[NDArray[np.uint8]], name: str) -> bytes:
    buffer, images = io.BytesIO(), [Image.fromarray(rgb) for rgb in frames]
    images[0].save(buffer, name, save_all=len(images) > 1, append_images=images[1:], duration=100)
    return buffer.getvalue()


def write_video(path: Path, width: int, height: int) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("png", rate=5)
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb24"
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(noise(width, height, number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def detector(tiny_bundle: Bundle) -> Detector:
    return Detector(tiny_bundle)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_face_detector_finds_nothing_and_resizes_nothing_to_no_pixels(size: tuple[int, int]) -> None:
    finder, rgb = FaceDetector(), noise(*size)
    assert finder.find(rgb) == []
    assert finder.find_upright(rgb) == []
    assert finder._search_tiles(rgb) == []


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_box_in_a_thin_picture_can_be_cropped_and_measured(size: tuple[int, int]) -> None:
    """As if a face had been found there."""
    width, height = size
    points = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)
    face = Face((0.0, 0.0, float(width), float(height)), points * np.array(size, np.float32), 0.9)
    assert align_face(noise(*size), face, 64).shape == (64, 64, 3)
    assert 0.0 <= measure_overshoot(noise(*size), face) <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", ["PNG", "JPEG", "TIFF", "BMP", "GIF"])
def test_a_thin_image_has_no_face(detector: Detector, tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    path, explained = tmp_path / "thin", tmp_path / "explained.png"
    path.write_bytes(encoded([noise(*size)], name))
    answer, code = _predict_one(detector, str(path), explained, None)
    assert (answer.get("error"), code) == (None, 0)
    assert (answer["verdict"], answer["faces"]) == ("inconclusive", [])
    assert explained.stat().st_size > 0
    report, body = process_job(detector, Measurements(), Job(kind="image"), os.open(path, os.O_RDONLY))
    assert (report.status, json.loads(body)["verdict"]) == (200, "inconclusive")


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", ["avi", "PNG", "GIF"])
def test_a_thin_video_has_no_face(detector: Detector, tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    path, explained = tmp_path / f"thin.{name}", tmp_path / "explained.png"
    if name == "avi":
        write_video(path, *size)
    else:
        path.write_bytes(encoded([noise(*size, number) for number in range(3)], name))
    answer, code = _predict_one(detector, str(path), explained, None)
    assert (answer.get("error"), code) == (None, 0)
    assert (answer["kind"], answer["verdict"], answer["faces"]) == ("video", "inconclusive", [])
    assert len(answer["timeline"]) >= 3
    report, _ = process_job(detector, Measurements(), Job(kind="video"), os.open(path, os.O_RDONLY))
    assert report.status == 200
