"""Every condition does what its name says, to the whole picture, and always the same."""

import numpy as np
import pytest

from deepfake_detector.evaluation.corruption_grid import ALL, CLEAN, GRID, RESAVED
from deepfake_detector.media.corruptions import decibels

FAMILIES = {
    "JPEG quality": (95, 85, 75, 60, 50, 40, 30),
    "WebP quality": (80, 50),
    "resized and back": (0.75, 0.5, 0.25),
    "blur, sigma in px": (0.5, 1, 2),
    "noise, sigma in grey levels": (2, 5, 10),
    "H.264 crf": (18, 28, 40),
}


def test_the_grid_is_the_one_that_was_asked_for() -> None:
    for family, levels in FAMILIES.items():
        assert tuple(c.level for c in GRID if c.family == family) == levels
    assert [c.margin for c in GRID if c.family == "crop margin"] == [0.9, 1.1]
    assert len(GRID) == len({c.name for c in GRID}) == 25
    assert GRID[0] is CLEAN
    assert RESAVED not in GRID
    assert ALL["JPEG 90"] is RESAVED


@pytest.mark.parametrize("family", FAMILIES)
def test_more_of_it_does_more_damage(portrait, family: str) -> None:
    some = [condition for condition in GRID if condition.family == family]
    damage = [decibels(portrait, condition(portrait, "a.jpg", 1)) for condition in some]
    assert damage == sorted(damage, reverse=True)
    assert len(set(damage)) == len(damage)


def test_double_jpeg_shifts_the_block_grid(portrait) -> None:
    twice = ALL["JPEG 75 then 90"](portrait, "a.jpg", 1)
    assert twice.shape == (252, 252, 3)
    assert 25 < decibels(portrait[4:, 4:], twice) < 45


def test_noise_depends_on_seed_and_picture_alone(portrait) -> None:
    noise = ALL["noise 5"]
    first = noise(portrait, "a.jpg", 1)
    assert np.array_equal(first, noise(portrait, "a.jpg", 1))
    assert not np.array_equal(first, noise(portrait, "b.jpg", 1))
    assert not np.array_equal(first, noise(portrait, "a.jpg", 2))
    assert np.array_equal(CLEAN(portrait, "a.jpg", 1), portrait)
