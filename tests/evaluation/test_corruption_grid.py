"""Every condition corrupts the whole picture as its name says, and always in the same way."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.evaluation.corruption_grid import CLEAN, CONDITIONS, GRID, RECOMPRESSED
from deepfake_detector.media.corruptions import psnr_db

Pixels = NDArray[np.uint8]
FAMILIES = {
    "JPEG quality": (95, 85, 75, 60, 50, 40, 30),
    "WebP quality": (80, 50),
    "downscaling factor": (0.75, 0.5, 0.25),
    "blur, sigma in px": (0.5, 1, 2),
    "noise, sigma in grey levels": (2, 5, 10),
    "H.264 crf": (18, 28, 40),
}


def test_the_grid_has_the_documented_conditions() -> None:
    for family, levels in FAMILIES.items():
        assert tuple(c.level for c in GRID if c.family == family) == levels
    assert [c.margin for c in GRID if c.family == "crop margin"] == [0.9, 1.1]
    assert len(GRID) == len({c.name for c in GRID}) == 27
    assert GRID[0] is CLEAN
    assert RECOMPRESSED not in GRID
    assert CONDITIONS["JPEG 90"] is RECOMPRESSED


@pytest.mark.parametrize("family", FAMILIES)
def test_severity_grows_within_a_family(portrait: Pixels, family: str) -> None:
    conditions = [condition for condition in GRID if condition.family == family]
    quality = [psnr_db(portrait, condition(portrait, "a.jpg", 1)) for condition in conditions]
    assert quality == sorted(quality, reverse=True)
    assert len(set(quality)) == len(quality)


def test_double_jpeg_shifts_the_block_grid(portrait: Pixels) -> None:
    twice = CONDITIONS["JPEG 75 then 90"](portrait, "a.jpg", 1)
    assert twice.shape == (252, 252, 3)
    assert 25 < psnr_db(portrait[4:, 4:], twice) < 45


def test_noise_depends_on_seed_and_path_alone(portrait: Pixels) -> None:
    noise = CONDITIONS["noise 5"]
    first = noise(portrait, "a.jpg", 1)
    assert np.array_equal(first, noise(portrait, "a.jpg", 1))
    assert not np.array_equal(first, noise(portrait, "b.jpg", 1))
    assert not np.array_equal(first, noise(portrait, "a.jpg", 2))
    assert np.array_equal(CLEAN(portrait, "a.jpg", 1), portrait)


def test_sharpened_and_dithered_pictures_are_what_they_are_called(portrait: Pixels) -> None:
    sharpened, dithered = (CONDITIONS[name](portrait, "a.jpg", 1) for name in ("sharpen 200 %", "dither 1 bit"))
    assert set(np.unique(dithered)) == {0, 255}
    assert (
        np.abs(np.diff(sharpened.astype(int), axis=1)).mean()
        > 1.5 * np.abs(np.diff(portrait.astype(int), axis=1)).mean()
    )
