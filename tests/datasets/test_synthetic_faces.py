"""The embedded data set: same bytes every time, faces that are found, nothing outside the traces that tells classes."""

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
from deepfake_detector.datasets.synthetic_faces.camera import through_camera, through_generator
from deepfake_detector.datasets.synthetic_faces.portrait import draw_portrait
from deepfake_detector.datasets.synthetic_faces.sample import draw_sample, write_sample
from deepfake_detector.media.face_detector import FaceDetector


def decoded(data: bytes) -> NDArray[np.uint8]:
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
        # A worker process and this one draw the same picture.
        inside = archive.read("real_vs_fake/real-vs-fake/train/fake/00001.jpg")
    assert inside == draw_sample(3, "train", "fake", 1)


@pytest.mark.parametrize(
    "other", [(4, "train", "real", 0), (3, "test", "real", 0), (3, "train", "fake", 0), (3, "train", "real", 1)]
)
def test_seed_split_label_and_index_each_give_another_person(other: tuple[int, str, str, int]) -> None:
    first, second = (cv2.resize(decoded(draw_sample(*job)), (32, 32)) for job in ((3, "train", "real", 0), other))
    assert np.abs(first.astype(int) - second).mean() > 3


@pytest.mark.parametrize("label", ["real", "fake"])
def test_yunet_finds_one_face_in_each(label: str) -> None:
    detector = FaceDetector()
    for index in range(12):
        faces = detector.find(decoded(draw_sample(3, "valid", label, index)))
        assert len(faces) == 1, index
        assert faces[0].side_px > 80


def test_both_classes_are_saved_by_the_same_encoder() -> None:
    seen = set()
    for label in ("real", "fake"):
        with Image.open(io.BytesIO(draw_sample(3, "train", label, 0))) as image:
            assert isinstance(image, JpegImagePlugin.JpegImageFile)
            tables = {number: list(table) for number, table in image.quantization.items()}
            seen.add(
                (image.size, image.mode, JpegImagePlugin.get_sampling(image), str(tables), str(sorted(image.info)))
            )
    ((size, mode, subsampling, tables, _),) = seen
    assert (size, mode, subsampling) == ((256, 256), "RGB", 2)
    assert tables.startswith("{0: [2, 1, 1, 2")  # quality 95, as in the Kaggle set


def test_camera_and_generator_keep_the_picture_they_are_given() -> None:
    drawing = draw_portrait(np.random.default_rng(1))
    small = cv2.resize(drawing, (16, 16), interpolation=cv2.INTER_AREA).astype(int)
    for through in (through_camera, through_generator):
        picture = through(drawing, np.random.default_rng(2))
        assert picture.shape == drawing.shape
        # Colours stay where they are: a wrong Bayer pattern would swap red and blue. What remains is the vignette.
        assert np.abs(cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA).astype(int) - small).mean() < 16


def test_only_the_generator_leaves_a_trace_that_repeats_every_eight_pixels() -> None:
    grey = np.full((256, 256, 3), 150, np.uint8)

    def peak(picture: NDArray[np.uint8]) -> float:
        spectrum = np.abs(np.fft.fft2(picture[..., 1].astype(float) - picture[..., 1].mean()))
        at = [(row, column) for row in (0, 32, 64) for column in (0, 32, 64) if row or column]
        return float(max(spectrum[where] for where in at) / np.median(spectrum))

    for seed in range(5):
        assert peak(through_generator(grey, np.random.default_rng(seed))) > 20
        assert peak(through_camera(grey, np.random.default_rng(seed))) < 6


def luma_noise(through: Callable[..., NDArray[np.uint8]]) -> float:
    """Of a dark flat picture, where the generator's traces, which grow with brightness, are weakest."""
    flat = np.full((256, 256, 3), 40, np.uint8)
    lumas = [cv2.cvtColor(through(flat, np.random.default_rng(seed)), cv2.COLOR_RGB2GRAY) for seed in range(80)]
    return float(np.median([cv2.Laplacian(luma, cv2.CV_32F).std() for luma in lumas]))


def test_noise_and_size_are_alike_in_both_classes() -> None:
    assert luma_noise(through_generator) == pytest.approx(luma_noise(through_camera), rel=0.2)
    sizes = [np.median([len(draw_sample(3, "train", label, i)) for i in range(25)]) for label in ("real", "fake")]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.15)
