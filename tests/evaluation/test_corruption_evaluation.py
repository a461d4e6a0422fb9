"""Whole pictures go the road that serving goes."""

import subprocess
import sys

import numpy as np
import pytest

from deepfake_detector.datasets.archive import Archive, pack
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.evaluation import corruption_evaluation as walking
from deepfake_detector.evaluation.corruption_evaluation import Road, jpeg_quality, walk
from deepfake_detector.media.corruptions import jpeg
from deepfake_detector.media.face_alignment import cut
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.media.image import encode_jpeg, encode_png

ROAD = Road(side_px=64, min_face_px=64, crop_scale=0.6, seed=1)
NAMES = ("clean", "JPEG 50", "margin 0.9")


@pytest.fixture(scope="module")
def walked(portrait, tmp_path_factory) -> dict:
    pictures = {"real_vs_fake/real-vs-fake/test/fake/a.jpg": draw_sample(3, "test", "real", 0)}
    pair = np.concatenate([portrait, portrait[:, ::-1]], axis=1)
    pictures["real_vs_fake/real-vs-fake/test/real/pair.png"] = encode_png(np.ascontiguousarray(pair))
    pictures["real_vs_fake/real-vs-fake/test/real/wall.png"] = encode_png(np.full((200, 200, 3), 90, np.uint8))
    pictures["real_vs_fake/real-vs-fake/test/real/cut.jpg"] = draw_sample(3, "test", "real", 0)[:3000]
    path = tmp_path_factory.mktemp("walk") / "some.zip"
    pack(path, pictures.items())
    with Archive(path, 2**30) as archive:
        entries = archive.entries
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walking, "in_order", map)  # worker processes take seconds to start
        found = list(walk(path, 2**30, ROAD, [(entry, NAMES) for entry in entries]))
    return {each.entry.path.rsplit("/", 1)[1]: each for each in found}


def test_crops_are_those_that_serving_cuts(walked, portrait) -> None:
    face = FaceDetector().find(portrait)[0]
    assert np.array_equal(walked["a.jpg"].crops["clean"][0], cut(portrait, face, 64, 64, 0.6).pixels)
    assert np.array_equal(walked["a.jpg"].crops["margin 0.9"][0], cut(portrait, face, 64, 64, 0.54).pixels)
    assert walked["a.jpg"].face_px == face.side_px


def test_faces_are_found_anew_in_a_degraded_picture(walked, portrait) -> None:
    saved = jpeg(portrait, 50)
    face = FaceDetector().find(saved)[0]
    assert np.array_equal(walked["a.jpg"].crops["JPEG 50"][0], cut(saved, face, 64, 64, 0.6).pixels)


def test_every_face_of_a_picture_is_judged(walked) -> None:
    assert walked["pair.png"].crops["clean"].shape == (2, 64, 64, 3)
    assert walked["pair.png"].jpeg_quality == 0


@pytest.mark.parametrize("name", ["wall.png", "cut.jpg"])
def test_what_cannot_be_judged_has_no_crops_and_stops_nothing(walked, name: str) -> None:
    assert {crops.shape for crops in walked[name].crops.values()} == {(0, 64, 64, 3)}
    assert set(walked[name].crops) == set(NAMES)
    assert walked[name].face_px == 0.0


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 95])
def test_the_quality_that_a_file_was_saved_with_is_read_from_it(portrait, quality: int) -> None:
    assert abs(jpeg_quality(encode_jpeg(portrait, quality)) - quality) <= 1


def test_worker_processes_stay_light() -> None:
    """They import this module; TensorFlow alone would take each of them ten seconds and 700 MB."""
    heavy = ("tensorflow", "keras", "pandas", "sklearn", "scipy", "mlflow", "matplotlib")
    code = f"import sys, pipelines.walk; print(*(n for n in {heavy!r} if n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
