"""The embedded data set is reproducible, its faces are detected, and only the traces differ between the classes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from deepfake_detector.config import Sample
from deepfake_detector.datasets.synthetic_faces.camera import simulate_camera, simulate_generator
from deepfake_detector.datasets.synthetic_faces.portrait import draw_portrait
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample, write_sample
from deepfake_detector.media.face_detector import FaceDetector


def decode(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_the_same_settings_write_the_same_bytes(tmp_path: Path) -> None:
    settings = Sample(seed=3, train=6, valid=4, test=4)
    write_sample(settings, tmp_path / "a.zip")
    write_sample(settings, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = archive.namelist()
        assert names == sorted(names)
        assert len(names) == 14
        drawn_by_worker = archive.read("real_vs_fake/real-vs-fake/train/fake/00001.jpg")
    assert drawn_by_worker == draw_sample(3, "train", "fake", 1)


@pytest.mark.parametrize(
    "other", [(4, "train", "real", 0), (3, "test", "real", 0), (3, "train", "fake", 0), (3, "train", "real", 1)]
)
def test_another_seed_split_label_or_index_gives_another_person(other: tuple[int, str, str, int]) -> None:
    first, second = (cv2.resize(decode(draw_sample(*job)), (32, 32)) for job in ((3, "train", "real", 0), other))
    assert np.abs(first.astype(int) - second).mean() > 3


@pytest.mark.parametrize("label", ["real", "fake"])
def test_yunet_finds_one_face_in_each_image(label: str) -> None:
    detector = FaceDetector()
    for index in range(12):
        faces = detector.find(decode(draw_sample(3, "valid", label, index)))
        assert len(faces) == 1, index
        assert faces[0].side_px > 80


def test_both_classes_are_encoded_alike() -> None:
    encodings = set()
    for label in ("real", "fake"):
        with Image.open(io.BytesIO(draw_sample(3, "train", label, 0))) as image:
            assert isinstance(image, JpegImagePlugin.JpegImageFile)
            quantization = {number: list(table) for number, table in image.quantization.items()}
            encodings.add(
                (
                    image.size,
                    image.mode,
                    JpegImagePlugin.get_sampling(image),
                    str(quantization),
                    str(sorted(image.info)),
                )
            )
    ((size, mode, subsampling, tables, _),) = encodings
    assert (size, mode, subsampling) == ((256, 256), "RGB", 2)
    assert tables.startswith("{0: [2, 1, 1, 2")  # quality 95, as in the Kaggle set


def test_camera_and_generator_keep_the_drawing() -> None:
    drawing = draw_portrait(np.random.default_rng(1))
    small = cv2.resize(drawing, (16, 16), interpolation=cv2.INTER_AREA).astype(int)
    for simulate in (simulate_camera, simulate_generator):
        image = simulate(drawing, np.random.default_rng(2))
        assert image.shape == drawing.shape
        # A wrong Bayer pattern would exchange red and blue. The rest of the difference is the vignette.
        assert np.abs(cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA).astype(int) - small).mean() < 16


def test_only_the_generator_leaves_a_trace_with_a_period_of_eight_pixels() -> None:
    grey = np.full((256, 256, 3), 150, np.uint8)

    def peak(image: NDArray[np.uint8]) -> float:
        spectrum = np.abs(np.fft.fft2(image[..., 1].astype(float) - image[..., 1].mean()))
        frequencies = [(row, column) for row in (0, 32, 64) for column in (0, 32, 64) if row or column]
        return float(max(spectrum[frequency] for frequency in frequencies) / np.median(spectrum))

    for seed in range(5):
        assert peak(simulate_generator(grey, np.random.default_rng(seed))) > 20
        assert peak(simulate_camera(grey, np.random.default_rng(seed))) < 6


def luma_noise(simulate: Callable[..., NDArray[np.uint8]]) -> float:
    """Noise of a dark flat image, where the generator's traces, which grow with brightness, are weakest."""
    flat = np.full((256, 256, 3), 40, np.uint8)
    lumas = [cv2.cvtColor(simulate(flat, np.random.default_rng(seed)), cv2.COLOR_RGB2GRAY) for seed in range(80)]
    return float(np.median([cv2.Laplacian(luma, cv2.CV_32F).std() for luma in lumas]))


def test_noise_and_file_size_are_equal_in_both_classes() -> None:
    assert luma_noise(simulate_generator) == pytest.approx(luma_noise(simulate_camera), rel=0.2)
    sizes = [np.median([len(draw_sample(3, "train", label, i)) for i in range(25)]) for label in ("real", "fake")]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.15)
