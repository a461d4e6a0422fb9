"""Every change keeps size and type, gets worse with its strength, and is the same each time."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deepfake_detector.media import corruptions

Pixels = NDArray[np.uint8]
Way = Callable[[Pixels, float], Pixels]


def recoloured(rgb: Pixels, brightness: float = 0, contrast: float = 1, saturation: float = 1, gamma: float = 1):
    return corruptions.recolour(rgb, brightness, contrast, saturation, gamma)


# Name -> the change at a strength, and strengths from mild to strong.
WAYS: dict[str, tuple[Way, Sequence[float]]] = {
    **{
        f"jpeg {encoder} {subsampling}": (
            lambda x, q, encoder=encoder, subsampling=subsampling: corruptions.jpeg(x, int(q), encoder, subsampling),
            (95, 75, 50, 30, 10),
        )
        for encoder, subsampling in itertools.product(("opencv", "pillow"), corruptions.SUBSAMPLINGS)
    },
    "webp opencv": (lambda x, q: corruptions.webp(x, int(q)), (95, 75, 50, 30, 5)),
    "webp pillow": (lambda x, q: corruptions.webp(x, int(q), "pillow"), (95, 75, 50, 30, 5)),
    "h264": (lambda x, crf: corruptions.h264(x, int(crf)), (4, 18, 28, 40, 50)),
    **{
        f"resize {down} {up}": (
            lambda x, f, down=down, up=up: corruptions.shrink_and_enlarge(x, f, down, up),
            (0.9, 0.6, 0.4, 0.25) if down != "nearest" else (0.6, 0.25),
        )
        for down, up in itertools.product(corruptions.INTERPOLATIONS, repeat=2)
    },
    "blur": (corruptions.blur, (0.4, 0.8, 1.6, 4)),
    "noise": (lambda x, sigma: corruptions.noise(x, sigma, np.random.default_rng(1)), (1, 3, 9, 30)),
    "brighter": (lambda x, v: recoloured(x, brightness=v), (5, 15, 40)),
    "darker": (lambda x, v: recoloured(x, brightness=v), (-5, -15, -40)),
    "harder": (lambda x, v: recoloured(x, contrast=v), (1.1, 1.3, 2)),
    "softer": (lambda x, v: recoloured(x, contrast=v), (0.9, 0.6, 0.2)),
    "paler": (lambda x, v: recoloured(x, saturation=v), (0.9, 0.5, 0)),
    "gamma": (lambda x, v: recoloured(x, gamma=v), (1.1, 1.4, 2.5)),
    "turn": (corruptions.turn, (1, 3, 9)),
    "scale": (lambda x, s: corruptions.turn(x, 0, s), (1.02, 1.1, 1.4)),
    "shift": (lambda x, s: corruptions.turn(x, 0, 1, (s, -s)), (0.5, 2, 6)),
}


@pytest.fixture(params=["even", "odd"])
def picture(request: pytest.FixtureRequest, portrait: Pixels) -> Pixels:
    """A drawn face with grain, as photographs have; sides of (128, 128) or (77, 91) px."""
    inner = portrait[60:188, 64:192] if request.param == "even" else portrait[90:167, 80:171]
    grain = np.random.default_rng(0).normal(0, 3, inner.shape)
    return np.clip(inner + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", WAYS)
def test_each_change_keeps_the_shape_and_grows_with_its_strength(name: str, picture: Pixels) -> None:
    way, strengths = WAYS[name]
    before = picture.copy()
    found = [way(picture, strength) for strength in strengths]
    assert np.array_equal(picture, before)
    for pixels in found:
        assert (pixels.shape, pixels.dtype) == (picture.shape, np.uint8)
    kept = [corruptions.decibels(picture, pixels) for pixels in found]
    assert all(milder > stronger for milder, stronger in itertools.pairwise(kept)), kept
    assert kept[0] > 18  # the mildest is still the picture, not another one, nor one with red and blue exchanged
    assert not np.array_equal(found[0], picture)


@pytest.mark.parametrize("name", WAYS)
def test_the_same_again_gives_the_same_bytes(name: str, picture: Pixels) -> None:
    way, strengths = WAYS[name]
    assert way(picture, strengths[1]).tobytes() == way(picture, strengths[1]).tobytes()


@pytest.mark.parametrize("quality", [30, 60, 90])
@pytest.mark.parametrize("subsampling", corruptions.SUBSAMPLINGS)
def test_the_two_jpeg_encoders_leave_different_traces(picture: Pixels, quality: int, subsampling: str) -> None:
    one, other = (corruptions.jpeg(picture, quality, encoder, subsampling) for encoder in ("opencv", "pillow"))
    assert (one != other).mean() > 0.3
    assert (
        abs(corruptions.decibels(picture, one) - corruptions.decibels(picture, other)) < 4
    )  # of about the same strength


def test_the_two_webp_encoders_leave_different_traces(picture: Pixels) -> None:
    assert (corruptions.webp(picture, 60) != corruptions.webp(picture, 60, "pillow")).mean() > 0.3


@pytest.mark.parametrize("encoder", ["opencv", "pillow"])
def test_subsampling_costs_colour(picture: Pixels, encoder: corruptions.Encoder) -> None:
    """Red and green stripes of one pixel and the same brightness: only the whole colour keeps them."""
    stripes = np.zeros_like(picture)
    stripes[:, ::2], stripes[:, 1::2] = (200, 60, 60), (60, 131, 60)
    kept = [
        corruptions.decibels(stripes, corruptions.jpeg(stripes, 90, encoder, how))
        for how in ("4:4:4", "4:2:2", "4:2:0")
    ]
    assert kept[0] > kept[1] + 5
    assert kept[1] == pytest.approx(kept[2], abs=1)  # down a stripe nothing changes


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 95])
def test_pillow_saves_with_the_tables_it_is_lent(picture: Pixels, quality: int, monkeypatch) -> None:
    files: list[bytes] = []
    save = Image.Image.save

    def spy(image: Image.Image, to: io.BytesIO, *args: object, **how: object) -> None:
        save(image, to, *args, **how)
        files.append(to.getvalue())

    monkeypatch.setattr(Image.Image, "save", spy)
    corruptions.jpeg(picture, quality, "pillow")
    saved = Image.open(io.BytesIO(files[0]))
    (table,) = {tuple(steps) for steps in saved.quantization.values()}
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    assert table[0] == min(max((16 * percent + 50) // 100, 1), 255)
    assert table[-1] == min(max((418 * percent + 50) // 100, 1), 255)
    standard = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    assert quality == 1 or table != tuple(Image.open(io.BytesIO(standard)).quantization[0])


@pytest.mark.parametrize("sides", [(2, 2), (3, 5), (64, 33), (127, 128)])
def test_video_takes_any_side(sides: tuple[int, int]) -> None:
    smooth = np.linspace(40, 200, sides[0] * sides[1], dtype=np.uint8).reshape(sides)
    rgb = np.repeat(smooth[..., None], 3, axis=2)
    found = corruptions.h264(rgb, 18)
    assert found.shape == rgb.shape
    assert corruptions.decibels(rgb[: sides[0] // 2 * 2, : sides[1] // 2 * 2],
                            found[: sides[0] // 2 * 2, : sides[1] // 2 * 2]) > 25  # fmt: skip


@pytest.mark.parametrize("colour", [(230, 30, 30), (30, 200, 60), (40, 60, 220)])
@pytest.mark.parametrize("name", ["jpeg opencv 4:2:0", "jpeg pillow 4:2:0", "webp opencv", "webp pillow", "h264"])
def test_colours_stay_in_their_channels(name: str, colour: tuple[int, int, int]) -> None:
    even = np.broadcast_to(np.array(colour, np.uint8), (32, 32, 3)).copy()
    way, strengths = WAYS[name]
    assert np.abs(way(even, strengths[0])[8:24, 8:24].mean(axis=(0, 1)) - colour).max() < 8


def test_nothing_to_change_changes_nothing(picture: Pixels) -> None:
    assert np.array_equal(recoloured(picture), picture)
    assert np.array_equal(corruptions.turn(picture, 0), picture)
    assert corruptions.decibels(picture, picture) == math.inf
    assert corruptions.decibels(np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)) == 0


def test_colour_and_light_do_what_they_are_called(picture: Pixels) -> None:
    grey = corruptions.recolour(picture, 0, 1, 0, 1).astype(int)
    assert np.ptp(grey, axis=2).max() <= 1
    assert recoloured(picture, brightness=10).mean() > picture.mean() > recoloured(picture, gamma=1.3).mean()
    assert recoloured(picture, contrast=0.5).std() < picture.std()


@pytest.mark.parametrize("right_px", [-4, 0, 3])
@pytest.mark.parametrize("down_px", [-4, 0, 3])
def test_a_move_is_a_window_of_the_mirrored_picture(picture: Pixels, right_px: int, down_px: int) -> None:
    wide = np.pad(picture, ((9, 9), (9, 9), (0, 0)), mode="reflect")
    height, width = picture.shape[:2]
    expected = wide[9 - down_px : 9 - down_px + height, 9 - right_px : 9 - right_px + width]
    found = corruptions.move(picture, right_px, down_px)
    assert np.array_equal(found, expected)
    assert found.flags.c_contiguous


def test_noise_has_the_deviation_asked_for_and_no_drift() -> None:
    even = np.full((200, 200, 3), 128, np.uint8)
    found = corruptions.noise(even, 7, np.random.default_rng(2)).astype(float)
    assert found.std() == pytest.approx(7, rel=0.02)
    assert found.mean() == pytest.approx(128, abs=0.1)
    assert abs(np.corrcoef(found[..., 0].ravel(), found[..., 1].ravel())[0, 1]) < 0.02  # each colour by itself


def test_a_turn_goes_about_the_middle_and_mirrors_what_comes_in() -> None:
    page = np.zeros((65, 65, 3), np.uint8)
    page[32, 32] = 255
    assert corruptions.turn(page, 45)[32, 32].min() > 200
    assert np.array_equal(corruptions.turn(page, 0, 1, (5, -3))[29, 37], [255] * 3)
    even = np.full((40, 40, 3), 90, np.uint8)
    assert (corruptions.turn(even, 30, 0.6, (9, 9)) == 90).all()
