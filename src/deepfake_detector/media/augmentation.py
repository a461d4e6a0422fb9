"""Crop uint8 (side, side, 3), its landmarks and its kind -> the crop as another day, camera or website would give it.

Both classes go through the same changes with the same odds: whatever differs afterwards is what makes a face fake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.media import corruptions
from deepfake_detector.media.self_blending import self_blend

Pixels = NDArray[np.uint8]
Level = Literal["none", "shift", "traffic"]

SHIFT_PX = 4
# Of the training crops that `traffic` would change: only mirrored and shifted, so that whole traces are learnt too.
# After 16 epochs the validation AUC was 0.957 instead of 0.950, and 0.936 instead of 0.933 on crops changed by traffic.
UNTOUCHED = 0.4
H264_SHARE, WEBP_SHARE = 0.15, 0.2  # of what is saved; the rest is JPEG
SMOOTH = ("linear", "cubic", "area", "lanczos")


@dataclass(frozen=True)
class Augment:
    """Changes training crops.

    Args:
        level: `none`; `shift`, flips and shifts by whole pixels, which leave every trace as it is; `traffic`, these
            and, for six crops in ten, all of `as_traffic`, turns, other light and cut-outs.
        blend: share of the real crops that become self-blended fakes.
        blend_code: the class a self-blended crop has.
    """

    level: Level
    blend: float = 0.0
    blend_code: int = 0

    def __call__(
        self, crop: Pixels, landmarks_px: NDArray[np.float32], code: int, random: np.random.Generator
    ) -> tuple[Pixels, int]:
        """Change one crop.

        Args:
            crop: uint8 (side, side, 3).
            landmarks_px: (5, 2) in the crop.
            code: 0 = real, 1.. = the kinds of fakes.
            random: decides everything; the same state gives the same crop.

        Returns:
            The crop, of the same shape, and its class, which a blend changes.
        """
        if code == 0 and self.blend and random.random() < self.blend:
            crop, code = self_blend(crop, landmarks_px, random), self.blend_code
        if self.level != "none":
            crop = _shift_and_flip(crop, random)
        if self.level == "traffic" and random.random() >= UNTOUCHED:
            crop = as_traffic(_in_other_light(crop, random), random)
        return crop, code


@dataclass(frozen=True)
class Patchwork:
    """Puts a piece of another face of the batch into some, so that every place has to be judged by what is there.

    Whoever has learnt a face by heart has the wrong answer for the piece. Source: CutMix (Yun et al. 2019), whose label
    is one mixture for the whole picture; here each place keeps its own.

    Args:
        share: of the crops that get a piece.
        place_px: side of the square that one place of the network's map stands for.
        whole: a class that neither gives nor gets pieces. A swap shows where the strange face ends; pieces of it end
            elsewhere, and with them the validation AUC of swaps was 0.82 instead of 0.86 (50 against 80 epochs).
    """

    share: float
    place_px: int
    whole: int | None = None

    def __call__(
        self, crops: Pixels, classes: NDArray[np.int64], random: np.random.Generator
    ) -> tuple[Pixels, NDArray[np.int64]]:
        """Mix a batch.

        Args:
            crops: uint8 (b, side, side, 3), changed already; they stay as they are.
            classes: (b,).
            random: decides everything.

        Returns:
            The crops, and the class of each place (b, places, places, 1): of whatever covers its middle.
        """
        side_px = crops.shape[1]
        mixed, given, free = crops.copy(), np.arange(len(crops)), np.flatnonzero(classes != self.whole)
        given[free] = random.permutation(free)
        places = np.repeat(classes, self.places(side_px) ** 2).reshape(len(crops), *(self.places(side_px),) * 2, 1)
        for i in free[random.random(len(free)) < self.share]:
            rows, columns = _piece(side_px, random)
            mixed[i, rows, columns] = crops[given[i], rows, columns]
            places[i, self._middles(rows), self._middles(columns)] = classes[given[i]]
        return mixed, places

    def places(self, side_px: int) -> int:
        """Places along a side of the map."""
        return side_px // self.place_px

    def _middles(self, pixels: slice) -> slice:
        """The places whose middles lie in a range of pixels."""
        half = self.place_px / 2
        first, last = (int(np.ceil((end - half) / self.place_px)) for end in (pixels.start, pixels.stop))
        return slice(first, last)


@dataclass(frozen=True)
class Sent:
    """Changes validation crops: only `as_traffic`, so that they stay what the test pictures of real use will be."""

    def __call__(
        self, crop: Pixels, landmarks_px: NDArray[np.float32], code: int, random: np.random.Generator
    ) -> tuple[Pixels, int]:
        """Change one crop; arguments as for `Augment`."""
        del landmarks_px
        return as_traffic(crop, random), code


def as_traffic(crop: Pixels, random: np.random.Generator) -> Pixels:
    """What happens to a picture on its way through websites and phones: nothing, or some of resize, blur, noise, codec.

    Three in ten crops stay as they are, so that untouched files are learnt as well.
    """
    if random.random() < 0.3:
        return crop
    if random.random() < 0.4:
        factor = random.uniform(0.25, 1.0) ** 0.7  # the mild ones are the commoner
        crop = corruptions.shrink_and_enlarge(crop, factor, _one(random, SMOOTH), _one(random, SMOOTH))
    if random.random() < 0.2:
        crop = corruptions.blur(crop, random.uniform(0.3, 1.8))
    if random.random() < 0.2:
        crop = corruptions.noise(crop, random.uniform(1, 9), random)
    for _ in range(int(random.choice(3, p=(0.3, 0.55, 0.15)))):  # saved never, once or twice
        crop = _saved(crop, random)
    return crop


def _saved(crop: Pixels, random: np.random.Generator) -> Pixels:
    """As JPEG or WebP, each by one of two encoders, or as a frame of H.264 video, which costs ten times as long."""
    codec, quality = random.random(), int(random.integers(30, 96))
    if codec < H264_SHARE:
        return corruptions.h264(crop, int(random.integers(17, 41)))
    encoder: corruptions.Encoder = "opencv" if random.random() < 0.5 else "pillow"
    if codec < H264_SHARE + WEBP_SHARE:
        return corruptions.webp(crop, quality, encoder)
    return corruptions.jpeg(crop, quality, encoder, _one(random, corruptions.SUBSAMPLINGS))


def _shift_and_flip(crop: Pixels, random: np.random.Generator) -> Pixels:
    """Mirror half of the crops and move each by up to 4 whole pixels, its border mirrored; nothing is interpolated."""
    if random.random() < 0.5:
        crop = crop[:, ::-1]
    left, up = random.integers(0, 2 * SHIFT_PX + 1, 2)
    return corruptions.move(crop, SHIFT_PX - int(left), SHIFT_PX - int(up))


def _in_other_light(crop: Pixels, random: np.random.Generator) -> Pixels:
    """Turned and scaled a little, recoloured, with a piece cut out: each with its own odds."""
    if random.random() < 0.5:
        crop = corruptions.turn(
            crop, random.uniform(-10, 10), random.uniform(0.9, 1.15), (0, 0), _one(random, SMOOTH[:2])
        )
    if random.random() < 0.3:
        crop = corruptions.recolour(
            crop,
            brightness=random.uniform(-25, 25),
            contrast=random.uniform(0.75, 1.25),
            saturation=random.uniform(0.6, 1.4),
            gamma=random.uniform(0.75, 1.3),
        )
    if random.random() < 0.2:
        crop = _cut_out(crop, random)
    return crop


def _cut_out(crop: Pixels, random: np.random.Generator) -> Pixels:
    """A rectangle of up to three eighths of the side, filled with one colour."""
    side_px = crop.shape[0]
    height_px, width_px = random.integers(side_px // 8, side_px * 3 // 8, 2)
    top, left = random.integers(0, side_px - height_px), random.integers(0, side_px - width_px)
    crop = crop.copy()
    crop[top : top + height_px, left : left + width_px] = random.integers(0, 256, 3)
    return crop


def _piece(side_px: int, random: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns of a rectangle: a tenth to three fifths of the crop, one side up to twice the other."""
    area, shape = random.uniform(0.1, 0.6), 2 ** random.uniform(-1, 1)
    height, width = (min(side_px, round(side_px * float(np.sqrt(area * ratio)))) for ratio in (shape, 1 / shape))
    top, left = int(random.integers(0, side_px - height + 1)), int(random.integers(0, side_px - width + 1))
    return slice(top, top + height), slice(left, left + width)


def _one(random: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[random.integers(len(names))]


def sent(crops: Pixels, seed: int) -> Pixels:
    """The crops as websites and phones would leave them; each depends on the seed and its place alone."""
    return np.stack([as_traffic(crop, np.random.default_rng([seed, i])) for i, crop in enumerate(crops)])
