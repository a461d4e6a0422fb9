"""Thumbnails: the area that each pixel stands for, the order, and faulty archives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.datasets.archive import KAGGLE_ROOT
from deepfake_detector.datasets.safe_zip import write_zip
from deepfake_detector.errors import ArchiveRejected, UnreadableImage
from deepfake_detector.media.image import encode_png
from deepfake_detector.validation.thumbnails import border, centre, read_thumbnails, thumbnail

LIMIT = 2**30


def test_a_pixel_is_the_mean_of_its_area() -> None:
    fine = np.random.default_rng(0).integers(0, 256, (256, 256, 1), np.uint8)
    small = thumbnail(np.repeat(fine, 3, axis=2))
    means = fine.reshape(32, 8, 32, 8).mean(axis=(1, 3))
    assert small.shape == (32, 32)
    assert np.abs(small - means).max() < 1  # rounded twice, by rows and by columns


def test_other_shapes_are_distorted() -> None:
    wide = np.zeros((50, 400, 3), np.uint8)
    wide[:, 200:] = 255
    small = thumbnail(wide)
    assert (small[:, :16] == 0).all()
    assert (small[:, 16:] == 255).all()
    assert thumbnail(np.full((1, 1, 3), 7, np.uint8)).tolist() == [[7] * 32] * 32


def test_border_and_centre_share_no_pixel() -> None:
    rows, columns = (np.asarray(axis[None], np.uint8) for axis in np.indices((32, 32)))

    def pixels(part: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> set[int]:
        return set((32 * part(rows)[0].astype(int) + part(columns)[0]).tolist())

    frame, middle = pixels(border), pixels(centre)
    assert (len(frame), len(middle)) == (448, 400)
    assert not frame & middle
    assert {0, 31, 3 * 32 + 3, 1023} <= frame
    assert 4 * 32 + 4 not in frame
    assert {6 * 32 + 6, 16 * 32 + 16, 25 * 32 + 25} <= middle


def test_thumbnails_are_in_the_order_of_the_paths(tmp_path: Path) -> None:
    files = {f"{KAGGLE_ROOT}/train/real/{n:03}.png": np.full((40, 40, 3), n, np.uint8) for n in range(100)}
    write_zip(tmp_path / "faces.zip", ((path, encode_png(rgb)) for path, rgb in files.items()))
    order = np.random.default_rng(0).permutation(100)[:60]
    small = read_thumbnails(tmp_path / "faces.zip", [f"{KAGGLE_ROOT}/train/real/{n:03}.png" for n in order], LIMIT)
    assert small.dtype == np.uint8
    assert small[:, 16, 16].tolist() == order.tolist()
    assert read_thumbnails(tmp_path / "faces.zip", [], LIMIT).shape == (0, 32, 32)


def test_a_missing_and_an_unreadable_picture_are_refused(tmp_path: Path) -> None:
    path = f"{KAGGLE_ROOT}/train/real/1.png"
    write_zip(tmp_path / "faces.zip", [(path, b"no picture")])
    with pytest.raises(ArchiveRejected, match=r"real/2\.png is not in faces\.zip"):
        read_thumbnails(tmp_path / "faces.zip", [path.replace("1.png", "2.png")], LIMIT)
    with pytest.raises(UnreadableImage):
        read_thumbnails(tmp_path / "faces.zip", [path], LIMIT)
