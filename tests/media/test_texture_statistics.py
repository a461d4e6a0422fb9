"""Each of the six numbers changes with the corruption that it is for, and none is infinite."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media import corruptions
from deepfake_detector.media.texture_statistics import STATISTICS, WINDOW_PX, measure_texture

Pixels = NDArray[np.uint8]
SHARPNESS, FIRST_DIFFERENCE, COLOUR, GRID = 0, 1, 4, 5


@pytest.fixture
def noisy(portrait: Pixels) -> Pixels:
    noise = np.random.default_rng(0).normal(0, 4, portrait.shape)
    return np.clip(portrait + noise, 0, 255).astype(np.uint8)


def test_blur_lowers_sharpness_and_fine_differences(noisy: Pixels) -> None:
    sharp, blurred = measure_texture(noisy), measure_texture(corruptions.blur(noisy, 1))
    assert sharp.shape == (len(STATISTICS),)
    assert blurred[SHARPNESS] < sharp[SHARPNESS] - 1
    assert blurred[FIRST_DIFFERENCE] < sharp[FIRST_DIFFERENCE]


def test_chroma_subsampling_lowers_colour_differences(noisy: Pixels) -> None:
    full, half = (measure_texture(corruptions.jpeg(noisy, 95, "opencv", each)) for each in ("4:4:4", "4:2:0"))
    assert half[COLOUR] < full[COLOUR] - 0.2
    assert half[SHARPNESS] == pytest.approx(full[SHARPNESS], abs=0.2)


def test_jpeg_leaves_its_grid(noisy: Pixels) -> None:
    assert measure_texture(corruptions.jpeg(noisy, 10))[GRID] > measure_texture(noisy)[GRID] + 0.3


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (40, 3), (17, 300), (600, 500)])
def test_all_sizes_give_finite_numbers(shape: tuple[int, int]) -> None:
    for fill in (0, 255):
        assert np.isfinite(measure_texture(np.full((*shape, 3), fill, np.uint8))).all()


def test_only_the_middle_of_a_large_image_counts_at_its_own_resolution(noisy: Pixels) -> None:
    large = np.zeros((WINDOW_PX + 160, WINDOW_PX + 320, 3), np.uint8)
    large[80 : 80 + WINDOW_PX, 160 : 160 + WINDOW_PX] = noisy
    assert measure_texture(large) == pytest.approx(measure_texture(noisy))
