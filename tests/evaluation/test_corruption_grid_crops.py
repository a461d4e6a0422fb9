"""Pictures are corrupted, then their faces are detected and cropped as serving does it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.datasets.archive import Archive
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample
from deepfake_detector.evaluation import corruption_grid_crops
from deepfake_detector.evaluation.corruption_grid_crops import CorruptedCrops, GridCropSpec, crop_grid, jpeg_quality
from deepfake_detector.media.corruptions import jpeg
from deepfake_detector.media.face_alignment import crop_face
from deepfake_detector.media.face_detector import FaceDetector
from deepfake_detector.media.image import encode_jpeg, encode_png

Pixels = NDArray[np.uint8]
SPEC = GridCropSpec(side_px=64, min_face_px=64, crop_scale=0.6, seed=1)
NAMES = ("clean", "JPEG 50", "margin 0.9")


@pytest.fixture(scope="module")
def cropped(portrait: Pixels, tmp_path_factory: pytest.TempPathFactory) -> dict[str, CorruptedCrops]:
    """File name -> crops of a portrait, of a pair, of a wall without faces and of a truncated file."""
    folder = "real_vs_fake/real-vs-fake/test"
    pair = np.ascontiguousarray(np.concatenate([portrait, portrait[:, ::-1]], axis=1))
    pictures = {
        f"{folder}/fake/portrait.jpg": draw_sample(3, "test", "real", 0),
        f"{folder}/real/pair.png": encode_png(pair),
        f"{folder}/real/wall.png": encode_png(np.full((200, 200, 3), 90, np.uint8)),
        f"{folder}/real/truncated.jpg": draw_sample(3, "test", "real", 0)[:3000],
    }
    path = tmp_path_factory.mktemp("grid") / "pictures.zip"
    write_zip(path, pictures.items())
    with Archive(path, 2**30) as archive:
        entries = archive.entries
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corruption_grid_crops, "process_map", map)  # worker processes take seconds to start
        found = list(crop_grid(path, 2**30, SPEC, [(entry, NAMES) for entry in entries]))
    return {each.entry.path.rsplit("/", 1)[1]: each for each in found}


def test_crops_are_those_of_serving(cropped: dict[str, CorruptedCrops], portrait: Pixels) -> None:
    face, crops = FaceDetector().find(portrait)[0], cropped["portrait.jpg"].crops

    def served(crop_scale: float) -> Pixels:
        pixels = crop_face(portrait, face, 64, 64, crop_scale).pixels
        assert pixels is not None
        return pixels

    assert np.array_equal(crops["clean"][0], served(0.6))
    assert np.array_equal(crops["margin 0.9"][0], served(0.54))
    assert cropped["portrait.jpg"].face_px == face.side_px


def test_faces_are_detected_again_in_a_corrupted_picture(cropped: dict[str, CorruptedCrops], portrait: Pixels) -> None:
    corrupted = jpeg(portrait, 50)
    face = FaceDetector().find(corrupted)[0]
    expected = crop_face(corrupted, face, 64, 64, 0.6).pixels
    assert expected is not None
    assert np.array_equal(cropped["portrait.jpg"].crops["JPEG 50"][0], expected)


def test_every_face_of_a_picture_is_cropped(cropped: dict[str, CorruptedCrops]) -> None:
    assert cropped["pair.png"].crops["clean"].shape == (2, 64, 64, 3)
    assert cropped["pair.png"].jpeg_quality == 0


@pytest.mark.parametrize("name", ["wall.png", "truncated.jpg"])
def test_a_picture_without_a_scorable_face_has_no_crops(cropped: dict[str, CorruptedCrops], name: str) -> None:
    assert {crops.shape for crops in cropped[name].crops.values()} == {(0, 64, 64, 3)}
    assert set(cropped[name].crops) == set(NAMES)
    assert cropped[name].face_px == 0.0


@pytest.mark.parametrize("quality", [30, 50, 75, 90, 95])
def test_jpeg_quality_is_read_from_the_quantization_table(portrait: Pixels, quality: int) -> None:
    assert abs(jpeg_quality(encode_jpeg(portrait, quality)) - quality) <= 1


@pytest.mark.parametrize("module", ["corruption_grid_crops", "random_corruption_crops"])
def test_worker_processes_load_no_heavy_library(module: str) -> None:
    """They import these modules; TensorFlow alone would take each of them ten seconds and 700 MB."""
    heavy = ("tensorflow", "keras", "pandas", "sklearn", "scipy", "mlflow", "matplotlib")
    code = f"import sys, deepfake_detector.evaluation.{module}; print(*(n for n in {heavy!r} if n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
