"""Augmentations change crops of both classes alike and depend on the random state alone; patches keep their classes."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from deepfake_detector.media import augmentation
from deepfake_detector.media.augmentation import Augment, CorruptedView, CutMixPatches, Level
from deepfake_detector.media.corruptions import random_corruption

Pixels = NDArray[np.uint8]
SIDE_PX = 48
LANDMARKS_PX = np.array([(16, 18), (32, 18), (24, 26), (18, 34), (30, 34)], np.float32)
LEVELS = ("none", "shift", "corruptions")


@pytest.fixture(scope="module")
def crop(portrait: Pixels) -> Pixels:
    return np.ascontiguousarray(portrait[90:186:2, 80:176:2])


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng([7, seed])


def detail(pixels: Pixels) -> float:
    """Mean difference of neighbouring pixels, which blur, noise and codecs change most."""
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("self_blend", [0.0, 0.5])
def test_same_seed_gives_the_same_crop_and_leaves_the_input_unchanged(
    crop: Pixels, level: Level, self_blend: float
) -> None:
    augment, before = Augment(level, self_blend, 2), crop.copy()
    for seed in range(40):
        (first, code), (second, same_code) = (augment(crop, LANDMARKS_PX, 0, generator(seed)) for _ in range(2))
        assert (first.tobytes(), code) == (second.tobytes(), same_code)
        assert first.shape == crop.shape
        assert first.dtype == np.uint8
        assert first.flags.c_contiguous
    assert np.array_equal(crop, before)


def test_level_none_changes_nothing(crop: Pixels) -> None:
    for code in (0, 1, 2):
        changed, same_code = Augment("none")(crop, LANDMARKS_PX, code, generator(0))
        assert np.array_equal(changed, crop)
        assert same_code == code


def test_level_shift_mirrors_and_shifts_without_interpolation(crop: Pixels) -> None:
    padded = np.pad(crop, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    windows = {
        page[down : down + SIDE_PX, right : right + SIDE_PX].tobytes(): (mirrored, down - 4, right - 4)
        for mirrored, page in ((False, padded), (True, padded[:, ::-1]))
        for down in range(9)
        for right in range(9)
    }
    # Each is, byte by byte, a window of the padded crop or of its mirror image.
    changed = [Augment("shift")(crop, LANDMARKS_PX, 1, generator(seed))[0] for seed in range(400)]
    shifts = Counter(windows[pixels.tobytes()] for pixels in changed)
    assert 150 < sum(count for shift, count in shifts.items() if shift[0]) < 250
    assert {down for _, down, _ in shifts} == {right for _, _, right in shifts} == set(range(-4, 5))


@pytest.mark.parametrize("level", LEVELS)
def test_changes_do_not_depend_on_the_class(crop: Pixels, level: Level) -> None:
    for seed in range(60):
        changed = [Augment(level)(crop, LANDMARKS_PX, code, generator(seed))[0].tobytes() for code in (0, 1, 2)]
        assert changed[0] == changed[1] == changed[2]


def test_real_crops_that_are_not_self_blended_have_the_distribution_of_the_fakes(crop: Pixels) -> None:
    """With self-blending, real crops draw one random number more, so only distributions can be compared."""
    augment = Augment("corruptions", 0.4, 1)
    seeds = range(1000)
    real = [pixels for pixels, code in (augment(crop, LANDMARKS_PX, 0, generator(s)) for s in seeds) if code == 0]
    fake = [augment(crop, LANDMARKS_PX, 1, generator(10_000 + s))[0] for s in seeds]
    for statistic in (detail, np.mean, np.std):
        assert ks_2samp([statistic(x) for x in real], [statistic(x) for x in fake]).pvalue > 0.001
    # The test detects a difference: real crops that are unchanged only half as often.
    worse = [random_corruption(x, generator(s)) for s, x in enumerate(real)]
    assert ks_2samp([detail(x) for x in worse], [detail(x) for x in fake]).pvalue < 1e-4


def test_four_crops_in_ten_are_only_mirrored_and_shifted(crop: Pixels) -> None:
    n, levels = 1500, (Augment("shift"), Augment("corruptions"))
    pairs = [[augment(crop, LANDMARKS_PX, 1, generator(seed))[0] for augment in levels] for seed in range(n)]
    # 0.4 by choice; of the others those with no rotation, colour change or erased rectangle and no corruption either.
    expected = 0.4 + 0.6 * (0.5 * 0.7 * 0.8) * (0.3 + 0.7 * 0.6 * 0.8 * 0.8 * 0.3)
    assert np.mean([np.array_equal(shifted, full) for shifted, full in pairs]) == pytest.approx(expected, abs=0.045)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_self_blending_turns_its_share_of_the_real_crops_into_fakes(crop: Pixels, share: float) -> None:
    augment = Augment("none", share, 2)
    results = [augment(crop, LANDMARKS_PX, 0, generator(seed)) for seed in range(600)]
    blended = [pixels for pixels, code in results if code == 2]
    assert len(blended) / 600 == pytest.approx(share, abs=4 * (share * (1 - share) / 600) ** 0.5)
    assert {code for _, code in results} == {0, 2}
    assert all(np.array_equal(pixels, crop) for pixels, code in results if code == 0)
    assert np.mean([not np.array_equal(pixels, crop) for pixels in blended]) > 0.99
    for code in (1, 2):
        pixels, same_code = augment(crop, LANDMARKS_PX, code, generator(3))
        assert same_code == code
        assert np.array_equal(pixels, crop)


def layout_correlation(one: Pixels, other: Pixels) -> float:
    """Of the grey images in 12 x 12 px."""
    small = [cv2.resize(each.mean(axis=2), (12, 12), interpolation=cv2.INTER_AREA) for each in (one, other)]
    return float(np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1])


def test_corrupted_view_is_a_random_corruption_and_nothing_else(crop: Pixels) -> None:
    for seed in range(60):
        changed, code = CorruptedView()(crop, LANDMARKS_PX, 0, generator(seed))
        assert code == 0
        assert np.array_equal(changed, random_corruption(crop, generator(seed)))
        assert layout_correlation(changed, crop) > 0.95  # neither mirrored nor shifted, dithered crops neither
    assert layout_correlation(crop[:, ::-1], crop) < 0.9


def test_erased_part_is_one_rectangle_of_one_colour(crop: Pixels) -> None:
    for seed in range(50):
        erased = augmentation._erase_rectangle(crop, generator(seed))
        changed = (erased != crop).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        rectangle = erased[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (rectangle == rectangle[0, 0]).all()
        assert max(rectangle.shape[:2]) <= SIDE_PX * 3 // 8


def test_cutmix_patches_are_rectangles_of_other_crops_and_each_cell_has_its_class() -> None:
    """Every crop has a grey of its own, so that a pixel tells where it comes from."""
    greys, classes = np.arange(40, dtype=np.uint8), np.arange(40) % 3
    crops = np.repeat(greys, 64 * 64 * 3).reshape(40, 64, 64, 3)
    before, patches = crops.copy(), 0
    for seed in range(20):
        mixed, cell_classes = CutMixPatches(0.5, 16)(crops, classes, generator(seed))
        assert mixed.shape == crops.shape
        assert mixed.dtype == np.uint8
        assert cell_classes.shape == (40, 4, 4, 1)
        assert cell_classes.dtype == np.int64
        assert np.array_equal(cell_classes[..., 0], classes[mixed[:, 8::16, 8::16, 0]])
        for i, crop in enumerate(mixed):
            foreign = crop[..., 0] != i
            rows, columns = np.flatnonzero(foreign.any(axis=1)), np.flatnonzero(foreign.any(axis=0))
            if foreign.any():
                patches += 1
                assert foreign[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
                assert 0.09 < foreign.mean() < 0.62
    # A crop that is its own donor shows no patch: one in forty.
    assert patches / (20 * 40) == pytest.approx(0.5 * 39 / 40, abs=0.06)
    assert np.array_equal(crops, before)


def test_cutmix_excludes_a_class_as_donor_and_as_receiver() -> None:
    greys, classes = np.arange(30, dtype=np.uint8), np.arange(30) % 3
    crops = np.repeat(greys, 32 * 32 * 3).reshape(30, 32, 32, 3)
    patches = 0
    for seed in range(20):
        mixed, cell_classes = CutMixPatches(1.0, 16, excluded_class=2)(crops, classes, generator(seed))
        assert np.array_equal(mixed[2::3], crops[2::3])
        assert (cell_classes[2::3] == 2).all()
        assert (cell_classes[classes != 2] != 2).all()
        foreign = mixed[classes != 2][..., 0] != greys[classes != 2][:, None, None]
        assert (mixed[classes != 2] % 3 != 2).all()
        patches += foreign.any(axis=(1, 2)).sum()
    assert patches > 0.85 * 20 * 20


def test_cutmix_with_share_zero_returns_the_batch() -> None:
    crops, classes = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8), np.arange(5)
    mixed, cell_classes = CutMixPatches(0.0, 16)(crops, classes, generator(0))
    assert np.array_equal(mixed, crops)
    assert cell_classes.shape == (5, 2, 2, 1)  # as many as the network has: 40, 20, 10, 5, 2
    assert (cell_classes[:, :, :, 0] == classes[:, None, None]).all()
