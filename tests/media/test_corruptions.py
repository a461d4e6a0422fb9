"""Every corruption keeps shape and type, grows with its strength and is reproducible; random ones have their odds."""

from __future__ import annotations

import io
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.media import corruptions
from deepfake_detector.media.corruptions import Encoder, corrupt_crops, random_corruption

Pixels = NDArray[np.uint8]
Corruption = Callable[[Pixels, float], Pixels]
ENCODERS: tuple[Encoder, ...] = get_args(Encoder)


def adjust(rgb: Pixels, brightness: float = 0, contrast: float = 1, saturation: float = 1, gamma: float = 1) -> Pixels:
    return corruptions.adjust_colour(rgb, brightness, contrast, saturation, gamma)


def jpeg_with(encoder: Encoder, subsampling: str) -> Corruption:
    return lambda rgb, quality: corruptions.jpeg(rgb, int(quality), encoder, subsampling)


def downscale_with(down: str, up: str) -> Corruption:
    return lambda rgb, factor: corruptions.downscale(rgb, factor, down, up)


# Name -> the corruption at a strength, and strengths from mild to strong.
CORRUPTIONS: dict[str, tuple[Corruption, Sequence[float]]] = {
    **{
        f"jpeg {encoder} {subsampling}": (jpeg_with(encoder, subsampling), (95, 75, 50, 30, 10))
        for encoder, subsampling in itertools.product(ENCODERS, corruptions.SUBSAMPLINGS)
    },
    "webp opencv": (lambda x, q: corruptions.webp(x, int(q)), (95, 75, 50, 30, 5)),
    "webp pillow": (lambda x, q: corruptions.webp(x, int(q), "pillow"), (95, 75, 50, 30, 5)),
    "h264": (lambda x, crf: corruptions.h264(x, int(crf)), (4, 18, 28, 40, 50)),
    **{
        f"downscale {down} {up}": (
            downscale_with(down, up),
            (0.9, 0.6, 0.4, 0.25) if down != "nearest" else (0.6, 0.25),
        )
        for down, up in itertools.product(corruptions.INTERPOLATIONS, repeat=2)
    },
    "blur": (corruptions.blur, (0.4, 0.8, 1.6, 4)),
    "noise": (lambda x, sigma: corruptions.noise(x, sigma, np.random.default_rng(1)), (1, 3, 9, 30)),
    "brighter": (lambda x, v: adjust(x, brightness=v), (5, 15, 40)),
    "darker": (lambda x, v: adjust(x, brightness=v), (-5, -15, -40)),
    "more contrast": (lambda x, v: adjust(x, contrast=v), (1.1, 1.3, 2)),
    "less contrast": (lambda x, v: adjust(x, contrast=v), (0.9, 0.6, 0.2)),
    "less saturation": (lambda x, v: adjust(x, saturation=v), (0.9, 0.5, 0)),
    "gamma": (lambda x, v: adjust(x, gamma=v), (1.1, 1.4, 2.5)),
    "sharpen": (lambda x, percent: corruptions.sharpen(x, 2, percent), (50, 150, 500)),
    "rotation": (corruptions.affine, (1, 3, 9)),
    "scale": (lambda x, s: corruptions.affine(x, 0, s), (1.02, 1.1, 1.4)),
    "shift": (lambda x, s: corruptions.affine(x, 0, 1, (s, -s)), (0.5, 2, 6)),
}


@pytest.fixture(params=["even", "odd"])
def image(request: pytest.FixtureRequest, portrait: Pixels) -> Pixels:
    """A drawn face with noise, as photographs have it; sides of (128, 128) or (77, 91) px."""
    inner = portrait[60:188, 64:192] if request.param == "even" else portrait[90:167, 80:171]
    noise = np.random.default_rng(0).normal(0, 3, inner.shape)
    return np.clip(inner + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruption_keeps_the_shape_and_grows_with_its_strength(name: str, image: Pixels) -> None:
    corrupt, strengths = CORRUPTIONS[name]
    before = image.copy()
    corrupted = [corrupt(image, strength) for strength in strengths]
    assert np.array_equal(image, before)
    for pixels in corrupted:
        assert pixels.shape == image.shape
        assert pixels.dtype == np.uint8
    psnr_db = [corruptions.psnr_db(image, pixels) for pixels in corrupted]
    assert all(milder > stronger for milder, stronger in itertools.pairwise(psnr_db)), psnr_db
    assert psnr_db[0] > 18  # the mildest is still the same image, with red and blue in their channels
    assert not np.array_equal(corrupted[0], image)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruption_is_reproducible(name: str, image: Pixels) -> None:
    corrupt, strengths = CORRUPTIONS[name]
    assert corrupt(image, strengths[1]).tobytes() == corrupt(image, strengths[1]).tobytes()


@pytest.mark.parametrize("quality", [30, 60, 90])
@pytest.mark.parametrize("subsampling", corruptions.SUBSAMPLINGS)
def test_the_two_jpeg_encoders_leave_different_traces(image: Pixels, quality: int, subsampling: str) -> None:
    one, other = (corruptions.jpeg(image, quality, encoder, subsampling) for encoder in ENCODERS)
    assert (one != other).mean() > 0.3
    # Of about the same strength.
    assert corruptions.psnr_db(image, one) == pytest.approx(corruptions.psnr_db(image, other), abs=4)


def test_the_two_webp_encoders_leave_different_traces(image: Pixels) -> None:
    assert (corruptions.webp(image, 60) != corruptions.webp(image, 60, "pillow")).mean() > 0.3


@pytest.mark.parametrize("encoder", ENCODERS)
def test_chroma_subsampling_loses_colour(image: Pixels, encoder: Encoder) -> None:
    """Red and green stripes of one pixel and equal brightness: only full chroma keeps them."""
    stripes = np.zeros_like(image)
    stripes[:, ::2], stripes[:, 1::2] = (200, 60, 60), (60, 131, 60)
    psnr_db = [
        corruptions.psnr_db(stripes, corruptions.jpeg(stripes, 90, encoder, subsampling))
        for subsampling in ("4:4:4", "4:2:2", "4:2:0")
    ]
    assert psnr_db[0] > psnr_db[1] + 5
    assert psnr_db[1] == pytest.approx(psnr_db[2], abs=1)  # nothing changes along a stripe


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 95])
def test_pillow_writes_the_mozjpeg_tables(image: Pixels, quality: int, monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[bytes] = []
    save = Image.Image.save

    def save_and_record(image: Image.Image, to: io.BytesIO, *args: Any, **options: Any) -> None:
        save(image, to, *args, **options)
        files.append(to.getvalue())

    monkeypatch.setattr(Image.Image, "save", save_and_record)
    corruptions.jpeg(image, quality, "pillow")
    saved: Any = Image.open(io.BytesIO(files[0]))
    (table,) = {tuple(steps) for steps in saved.quantization.values()}
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    assert table[0] == min(max((16 * percent + 50) // 100, 1), 255)
    assert table[-1] == min(max((418 * percent + 50) // 100, 1), 255)
    standard: Any = Image.open(
        io.BytesIO(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())
    )
    assert quality == 1 or table != tuple(standard.quantization[0])


@pytest.mark.parametrize("shape", [(2, 2), (3, 5), (64, 33), (127, 128)])
def test_h264_takes_images_of_any_shape(shape: tuple[int, int]) -> None:
    smooth = np.linspace(40, 200, shape[0] * shape[1], dtype=np.uint8).reshape(shape)
    rgb = np.repeat(smooth[..., None], 3, axis=2)
    decoded = corruptions.h264(rgb, 18)
    assert decoded.shape == rgb.shape
    even = (slice(shape[0] // 2 * 2), slice(shape[1] // 2 * 2))
    assert corruptions.psnr_db(rgb[even], decoded[even]) > 25


@pytest.mark.parametrize("shape", [(130, 162), (200, 166), (33, 47)])
def test_h264_gives_the_same_pixels_each_time(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    first = corruptions.h264(rgb, 28)
    for side_px in range(34, 50):
        corruptions.h264(rng.integers(0, 256, (side_px, side_px, 3), dtype=np.uint8), 28)  # leaves other memory behind
        assert np.array_equal(corruptions.h264(rgb, 28), first)


@pytest.mark.parametrize("colour", [(230, 30, 30), (30, 200, 60), (40, 60, 220)])
@pytest.mark.parametrize("name", ["jpeg opencv 4:2:0", "jpeg pillow 4:2:0", "webp opencv", "webp pillow", "h264"])
def test_codecs_keep_colours_in_their_channels(name: str, colour: tuple[int, int, int]) -> None:
    flat = np.broadcast_to(np.array(colour, np.uint8), (32, 32, 3)).copy()
    encode, strengths = CORRUPTIONS[name]
    assert np.abs(encode(flat, strengths[0])[8:24, 8:24].mean(axis=(0, 1)) - colour).max() < 8


def test_neutral_parameters_change_nothing(image: Pixels) -> None:
    assert np.array_equal(adjust(image), image)
    assert np.array_equal(corruptions.affine(image, 0), image)
    assert corruptions.psnr_db(image, image) == math.inf
    assert corruptions.psnr_db(np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)) == 0


def test_adjust_colour_does_what_its_parameters_say(image: Pixels) -> None:
    grey = corruptions.adjust_colour(image, 0, 1, 0, 1).astype(int)
    assert np.ptp(grey, axis=2).max() <= 1
    assert adjust(image, brightness=10).mean() > image.mean() > adjust(image, gamma=1.3).mean()
    assert adjust(image, contrast=0.5).std() < image.std()


@pytest.mark.parametrize("right_px", [-4, 0, 3])
@pytest.mark.parametrize("down_px", [-4, 0, 3])
def test_translation_is_a_window_of_the_mirrored_image(image: Pixels, right_px: int, down_px: int) -> None:
    padded = np.pad(image, ((9, 9), (9, 9), (0, 0)), mode="reflect")
    height, width = image.shape[:2]
    expected = padded[9 - down_px : 9 - down_px + height, 9 - right_px : 9 - right_px + width]
    moved = corruptions.translate(image, right_px, down_px)
    assert np.array_equal(moved, expected)
    assert moved.flags.c_contiguous


def test_noise_has_the_requested_deviation_and_mean_zero() -> None:
    flat = np.full((200, 200, 3), 128, np.uint8)
    noisy = corruptions.noise(flat, 7, np.random.default_rng(2)).astype(float)
    assert noisy.std() == pytest.approx(7, rel=0.02)
    assert noisy.mean() == pytest.approx(128, abs=0.1)
    assert abs(np.corrcoef(noisy[..., 0].ravel(), noisy[..., 1].ravel())[0, 1]) < 0.02  # channels are independent


def test_affine_rotates_about_the_centre_and_mirrors_the_border() -> None:
    dot = np.zeros((65, 65, 3), np.uint8)
    dot[32, 32] = 255
    assert corruptions.affine(dot, 45)[32, 32].min() > 200
    assert np.array_equal(corruptions.affine(dot, 0, 1, (5, -3))[29, 37], [255] * 3)
    flat = np.full((40, 40, 3), 90, np.uint8)
    assert (corruptions.affine(flat, 30, 0.6, (9, 9)) == 90).all()


@pytest.mark.parametrize("method", get_args(corruptions.Dithering))
def test_dithering_keeps_the_mean_grey_in_black_and_white(image: Pixels, method: corruptions.Dithering) -> None:
    dithered = corruptions.dither(image, method)
    assert dithered.shape == image.shape
    assert set(np.unique(dithered)) == {0, 255}
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    assert dithered.mean() == pytest.approx(grey.mean(), abs=4)
    area = (grey.shape[1] // 8, grey.shape[0] // 8)
    small = [cv2.resize(each, area, interpolation=cv2.INTER_AREA) for each in (grey, dithered[:, :, 0])]
    assert np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1] > 0.97


def test_ordered_dithering_gives_a_flat_grey_its_share_of_dots() -> None:
    for grey in (0, 64, 128, 191, 255):
        flat = np.full((16, 24, 3), grey, np.uint8)
        assert corruptions.dither(flat, "ordered").mean() == pytest.approx(grey, abs=3)


def test_rare_corruptions_leave_earlier_draws_as_they_were(portrait: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    crop = np.ascontiguousarray(portrait[90:186:2, 80:176:2])
    with_rare = [random_corruption(crop, np.random.default_rng([1, seed])) for seed in range(150)]
    monkeypatch.setattr(corruptions, "DITHER_SHARE", 0)
    monkeypatch.setattr(corruptions, "SHARPEN_SHARE", 0)
    without = [random_corruption(crop, np.random.default_rng([1, seed])) for seed in range(150)]
    changed = sum(not np.array_equal(one, other) for one, other in zip(with_rare, without, strict=True))
    assert 1 <= changed <= 16


def test_random_corruption_draws_every_change_with_its_probability(
    portrait: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop = np.ascontiguousarray(portrait[90:186:2, 80:176:2])
    calls: Counter[str] = Counter()
    qualities: dict[str, list[int]] = {"jpeg": [], "webp": [], "h264": []}
    details = {"jpeg": ["{2} {3}"], "webp": ["{2} webp"], "dither": ["dither {1}"], "downscale": ["down {2}", "up {3}"]}

    def counted(name: str) -> Callable[..., Pixels]:
        original = getattr(corruptions, name)

        def count(*args: Any) -> Pixels:
            calls.update([name, *(detail.format(*args) for detail in details.get(name, ()))])
            if name in qualities:
                qualities[name].append(args[1])
            pixels: Pixels = original(*args)
            return pixels

        return count

    for name in ("jpeg", "webp", "h264", "downscale", "blur", "noise", "sharpen", "dither"):
        monkeypatch.setattr(corruptions, name, counted(name))
    n = 1500
    unchanged = sum(
        np.array_equal(random_corruption(crop, np.random.default_rng([7, seed])), crop) for seed in range(n)
    )
    # 0.3 by choice, and 0.7 * 0.6 * 0.8 * 0.8 * 0.3 * 0.94 in which no change happened to be drawn.
    assert unchanged / n == pytest.approx(0.3 + 0.7 * 0.6 * 0.8 * 0.8 * 0.3 * 0.94, abs=0.045)
    recompressions = 0.7 * 0.85
    expected = {"downscale": 0.28, "blur": 0.14, "noise": 0.14}
    expected |= {"jpeg": recompressions * 0.65, "webp": recompressions * 0.2, "h264": recompressions * 0.15}
    for name, share in expected.items():
        assert calls[name] / n == pytest.approx(share, abs=0.045), name
    for name in ("sharpen", "dither"):
        assert calls[name] / n == pytest.approx(0.7 * 0.03, abs=0.012), name
    assert min(calls["dither ordered"], calls["dither diffusion"]) > 5
    for encoder in ENCODERS:
        assert calls[f"{encoder} webp"] > 45
        for subsampling in corruptions.SUBSAMPLINGS:
            assert calls[f"{encoder} {subsampling}"] > 60
    interpolations = itertools.product(("down", "up"), corruptions.SMOOTH_INTERPOLATIONS)
    assert all(calls[f"{way} {interpolation}"] > 60 for way, interpolation in interpolations)
    for name, ends in {"jpeg": (30, 95), "webp": (30, 95), "h264": (17, 40)}.items():
        assert (min(qualities[name]), max(qualities[name])) == ends


def test_corrupted_crops_depend_on_the_seed_and_their_index_alone(portrait: Pixels) -> None:
    crops = np.stack([portrait[90:138, left : left + 48] for left in range(40, 100, 6)])
    corrupted = corrupt_crops(crops, 3)
    assert corrupted.shape == crops.shape
    assert corrupted.dtype == np.uint8
    assert np.array_equal(corrupt_crops(crops[:4], 3), corrupted[:4])
    assert not np.array_equal(corrupt_crops(crops, 4), corrupted)
