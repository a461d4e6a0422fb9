"""Training crops change in many ways, both classes alike, and by the random state alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from deepfake_detector.media import augmentation, corruptions
from deepfake_detector.media.augmentation import Augment, Patchwork, Sent, as_traffic

Pixels = NDArray[np.uint8]
SIDE_PX = 48
LANDMARKS_PX = np.array([(16, 18), (32, 18), (24, 26), (18, 34), (30, 34)], np.float32)
LEVELS = ("none", "shift", "traffic")


@pytest.fixture(scope="module")
def crop(portrait: Pixels) -> Pixels:
    return np.ascontiguousarray(portrait[90:186:2, 80:176:2])


def state(seed: int) -> np.random.Generator:
    return np.random.default_rng([7, seed])


def detail(pixels: Pixels) -> float:
    """What blur, noise and codecs change most: the mean step between neighbours."""
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("blend", [0.0, 0.5])
def test_the_same_state_gives_the_same_crop_and_the_given_one_stays(crop: Pixels, level, blend: float) -> None:
    change, before = Augment(level, blend, 2), crop.copy()
    for seed in range(40):
        (one, code), (again, same) = (change(crop, LANDMARKS_PX, 0, state(seed)) for _ in range(2))
        assert (one.tobytes(), code) == (again.tobytes(), same)
        assert (one.shape, one.dtype, one.flags.c_contiguous) == (crop.shape, np.uint8, True)
    assert np.array_equal(crop, before)


def test_none_changes_nothing(crop: Pixels) -> None:
    for code in (0, 1, 2):
        found, same = Augment("none")(crop, LANDMARKS_PX, code, state(0))
        assert np.array_equal(found, crop)
        assert same == code


def test_shift_mirrors_and_moves_by_whole_pixels_and_invents_none(crop: Pixels) -> None:
    wide = np.pad(crop, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    windows = {
        page[down : down + SIDE_PX, right : right + SIDE_PX].tobytes(): (mirrored, down - 4, right - 4)
        for mirrored, page in ((False, wide), (True, wide[:, ::-1]))
        for down in range(9)
        for right in range(9)
    }
    # Each is a window of the widened crop or of its mirror image, to the byte: nothing was interpolated.
    changed = [Augment("shift")(crop, LANDMARKS_PX, 1, state(seed))[0] for seed in range(400)]
    places = Counter(windows[pixels.tobytes()] for pixels in changed)
    assert 150 < sum(count for place, count in places.items() if place[0]) < 250
    assert {down for _, down, _ in places} == {right for _, _, right in places} == set(range(-4, 5))


@pytest.mark.parametrize("level", LEVELS)
def test_what_happens_to_a_crop_does_not_depend_on_its_class(crop: Pixels, level) -> None:
    for seed in range(60):
        found = [Augment(level)(crop, LANDMARKS_PX, code, state(seed))[0].tobytes() for code in (0, 1, 2)]
        assert found[0] == found[1] == found[2]


def test_real_crops_that_are_not_blended_look_like_the_fakes(crop: Pixels) -> None:
    """With blends on, real crops draw one number more, so only their distribution can be compared."""
    change = Augment("traffic", 0.4, 1)
    seeds = range(500)
    real = [pixels for pixels, code in (change(crop, LANDMARKS_PX, 0, state(s)) for s in seeds) if code == 0]
    fake = [change(crop, LANDMARKS_PX, 1, state(10_000 + s))[0] for s in seeds]
    for statistic in (detail, np.mean, np.std):
        assert ks_2samp([statistic(x) for x in real], [statistic(x) for x in fake]).pvalue > 0.001
    # The test would see a difference: real ones that are only half as often untouched.
    worse = [as_traffic(x, state(s)) for s, x in enumerate(real)]
    assert ks_2samp([detail(x) for x in worse], [detail(x) for x in fake]).pvalue < 1e-4


def test_four_crops_in_ten_are_only_mirrored_and_moved(crop: Pixels) -> None:
    n, shift, traffic = 1500, Augment("shift"), Augment("traffic")
    pairs = [[change(crop, LANDMARKS_PX, 1, state(seed))[0] for change in (shift, traffic)] for seed in range(n)]
    # 0.4 by choice; of the others those that get no turn, light or cut-out and nothing from traffic either.
    expected = 0.4 + 0.6 * (0.5 * 0.7 * 0.8) * (0.3 + 0.7 * 0.6 * 0.8 * 0.8 * 0.3)
    assert np.mean([np.array_equal(*pair) for pair in pairs]) == pytest.approx(expected, abs=0.045)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_blend_makes_fakes_of_its_share_of_the_real_ones_only(crop: Pixels, share: float) -> None:
    change = Augment("none", share, 2)
    found = [change(crop, LANDMARKS_PX, 0, state(seed)) for seed in range(600)]
    blended = [pixels for pixels, code in found if code == 2]
    assert len(blended) / 600 == pytest.approx(share, abs=4 * (share * (1 - share) / 600) ** 0.5)
    assert {code for _, code in found} == {0, 2}
    assert all(np.array_equal(pixels, crop) for pixels, code in found if code == 0)
    assert np.mean([not np.array_equal(pixels, crop) for pixels in blended]) > 0.99
    for code in (1, 2):
        pixels, same = change(crop, LANDMARKS_PX, code, state(3))
        assert same == code
        assert np.array_equal(pixels, crop)


def test_traffic_is_every_way_at_its_odds(crop: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()
    qualities: dict[str, list[int]] = {"jpeg": [], "webp": [], "h264": []}
    told = {"jpeg": ["{2} {3}"], "webp": ["{2} webp"], "shrink_and_enlarge": ["down {2}", "up {3}"]}
    for name in ("jpeg", "webp", "h264", "shrink_and_enlarge", "blur", "noise"):
        plain = getattr(corruptions, name)

        def counted(*args: object, plain=plain, name=name) -> Pixels:
            seen.update([name, *(words.format(*args) for words in told.get(name, ()))])
            if name in qualities:
                qualities[name].append(args[1])
            return plain(*args)

        monkeypatch.setattr(augmentation.degrade, name, counted)
    n = 1500
    untouched = sum(np.array_equal(as_traffic(crop, state(seed)), crop) for seed in range(n))
    # 0.3 by choice, and 0.7 * 0.6 * 0.8 * 0.8 * 0.3 in which nothing happened to be drawn.
    assert untouched / n == pytest.approx(0.3 + 0.7 * 0.6 * 0.8 * 0.8 * 0.3, abs=0.045)
    saved = 0.7 * 0.85
    expected = {"shrink_and_enlarge": 0.28, "blur": 0.14, "noise": 0.14}
    expected |= {"jpeg": saved * 0.65, "webp": saved * 0.2, "h264": saved * 0.15}
    for name, share in expected.items():
        assert seen[name] / n == pytest.approx(share, abs=0.045), name
    for encoder in ("opencv", "pillow"):
        assert seen[f"{encoder} webp"] > 45
        for subsampling in corruptions.SUBSAMPLINGS:
            assert seen[f"{encoder} {subsampling}"] > 60
    assert all(seen[f"{way} {how}"] > 60 for way in ("down", "up") for how in augmentation.SMOOTH)
    for name, ends in {"jpeg": (30, 95), "webp": (30, 95), "h264": (17, 40)}.items():
        assert (min(qualities[name]), max(qualities[name])) == ends


def test_validation_crops_are_only_sent_not_moved_turned_or_cut(crop: Pixels) -> None:
    for seed in range(60):
        found, code = Sent()(crop, LANDMARKS_PX, 0, state(seed))
        assert code == 0
        assert np.array_equal(found, as_traffic(crop, state(seed)))
        assert corruptions.decibels(found, crop) > 18  # in its place; a mirrored one is far off
    assert corruptions.decibels(np.ascontiguousarray(crop[:, ::-1]), crop) < 15


def test_a_cut_out_is_one_rectangle_of_one_colour(crop: Pixels) -> None:
    for seed in range(50):
        found = augmentation._cut_out(crop, state(seed))
        changed = (found != crop).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        piece = found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert (piece == piece[0, 0]).all()
        assert max(piece.shape[:2]) <= SIDE_PX * 3 // 8


def test_a_patchwork_has_pieces_of_other_crops_and_says_whose_each_place_is() -> None:
    """Every crop has a grey of its own, so that a pixel tells where it comes from."""
    greys, classes = np.arange(40, dtype=np.uint8), np.arange(40) % 3
    crops = np.repeat(greys, 64 * 64 * 3).reshape(40, 64, 64, 3)
    kept, pieces = crops.copy(), 0
    for seed in range(20):
        mixed, places = Patchwork(0.5, 16)(crops, classes, state(seed))
        assert (mixed.shape, mixed.dtype) == (crops.shape, np.uint8)
        assert (places.shape, places.dtype) == ((40, 4, 4, 1), np.int64)
        assert np.array_equal(places[..., 0], classes[mixed[:, 8::16, 8::16, 0]])
        for i, crop in enumerate(mixed):
            foreign = crop[..., 0] != i
            rows, columns = np.flatnonzero(foreign.any(axis=1)), np.flatnonzero(foreign.any(axis=0))
            if foreign.any():
                pieces += 1
                assert foreign[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
                assert 0.09 < foreign.mean() < 0.62
    # A crop that is given a piece of itself shows none: one in forty.
    assert pieces / (20 * 40) == pytest.approx(0.5 * 39 / 40, abs=0.06)
    assert np.array_equal(crops, kept)


def test_swaps_stay_whole_and_give_no_pieces() -> None:
    greys, classes = np.arange(30, dtype=np.uint8), np.arange(30) % 3
    crops = np.repeat(greys, 32 * 32 * 3).reshape(30, 32, 32, 3)
    pieces = 0
    for seed in range(20):
        mixed, places = Patchwork(1.0, 16, whole=2)(crops, classes, state(seed))
        assert np.array_equal(mixed[2::3], crops[2::3])
        assert (places[2::3] == 2).all()
        assert (places[classes != 2] != 2).all()
        foreign = mixed[classes != 2][..., 0] != greys[classes != 2][:, None, None]
        assert (mixed[classes != 2] % 3 != 2).all()
        pieces += foreign.any(axis=(1, 2)).sum()
    assert pieces > 0.85 * 20 * 20


def test_a_patchwork_of_no_share_is_the_batch_itself() -> None:
    crops, classes = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8), np.arange(5)
    mixed, places = Patchwork(0.0, 16)(crops, classes, state(0))
    assert np.array_equal(mixed, crops)
    assert places.shape == (5, 2, 2, 1)  # as many as the network has: 40, 20, 10, 5, 2
    assert (places[:, :, :, 0] == classes[:, None, None]).all()
