"""Training crops uint8 (side, side, 3), their landmarks and classes -> changed crops and the classes they then have.

Real and fake crops go through the same changes with the same probabilities, so that no change gives the class away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.media import corruptions
from deepfake_detector.media.corruptions import SMOOTH_INTERPOLATIONS, pick, random_corruption
from deepfake_detector.media.self_blending import self_blend

Pixels = NDArray[np.uint8]
Level = Literal["none", "shift", "light", "corruptions"]

MAX_SHIFT_PX = 4
# Share of the training crops that level `corruptions` only mirrors and shifts, so that intact traces are learnt too.
# After 16 epochs the validation AUC was 0.957 instead of 0.950, and 0.936 instead of 0.933 on corrupted crops.
UNCORRUPTED_SHARE = 0.4
# Share of the crops that level `light` rotates, recolours or erases.
LIGHT_SHARE = 0.3


@dataclass(frozen=True)
class Augment:
    """Changes a training crop at random.

    Args:
        level: `none`; `shift`, which mirrors and shifts by whole pixels and so leaves every trace intact; `light`,
            which does the same and, for three crops in ten, also rotates, recolours or erases a rectangle: for crops
            that were degraded before; `corruptions`, which does the same and, for six crops in ten, also rotates,
            recolours, erases a rectangle and applies `random_corruption`.
        self_blend: share of the real crops that become self-blended fakes.
        self_blend_code: the class of a self-blended crop.
    """

    level: Level
    self_blend: float = 0.0
    self_blend_code: int = 0

    def __call__(
        self, crop: Pixels, landmarks_px: NDArray[np.float32], code: int, rng: np.random.Generator
    ) -> tuple[Pixels, int]:
        """Change one crop.

        Args:
            crop: uint8 (side, side, 3).
            landmarks_px: (5, 2) in the crop.
            code: class of the crop: 0 = real, 1.. = the kinds of fakes.
            rng: the same state gives the same crop.

        Returns:
            The crop, of the same shape, and its class, which self-blending changes.
        """
        if code == 0 and self.self_blend and rng.random() < self.self_blend:
            crop, code = self_blend(crop, landmarks_px, rng), self.self_blend_code
        if self.level != "none":
            crop = _mirror_and_shift(crop, rng)
        if self.level == "light" and rng.random() < LIGHT_SHARE:
            crop = _rotate_recolour_and_erase(crop, rng)
        if self.level == "corruptions" and rng.random() >= UNCORRUPTED_SHARE:
            crop = random_corruption(_rotate_recolour_and_erase(crop, rng), rng)
        return crop, code


@dataclass(frozen=True)
class CorruptedView:
    """Changes a validation crop by `random_corruption` alone, as the test images are changed."""

    def __call__(
        self, crop: Pixels, landmarks_px: NDArray[np.float32], code: int, rng: np.random.Generator
    ) -> tuple[Pixels, int]:
        """Change one crop; arguments as for `Augment`."""
        del landmarks_px
        return random_corruption(crop, rng), code


@dataclass(frozen=True)
class CutMixPatches:
    """Replaces a rectangle in some crops by the same rectangle of another crop of the batch.

    A network that has memorized a face then gives the wrong class for the patch. Source: CutMix (Yun et al. 2019),
    whose label is one mixture for the whole image; here each cell of the network's logit map keeps a label of its own.

    Args:
        share: of the crops that get a patch.
        cell_px: side of the square that one cell of the logit map stands for.
        excluded_class: a class that neither gives nor gets patches. A swap shows where the other face ends; a patch of
            it ends elsewhere, and with patches the validation AUC of swaps was 0.82 instead of 0.86 (50 against 80
            epochs).
    """

    share: float
    cell_px: int
    excluded_class: int | None = None

    def __call__(
        self, crops: Pixels, classes: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[Pixels, NDArray[np.int64]]:
        """Mix a batch.

        Args:
            crops: uint8 (b, side, side, 3), already augmented; not modified.
            classes: (b,).
            rng: the same state gives the same batch.

        Returns:
            The mixed crops, and the class of each cell (b, cells, cells, 1): that of the crop which covers its centre.
        """
        cells = self.cells(crops.shape[1])
        mixed, donors, mixable = crops.copy(), np.arange(len(crops)), np.flatnonzero(classes != self.excluded_class)
        donors[mixable] = rng.permutation(mixable)
        cell_classes = np.repeat(classes, cells**2).reshape(len(crops), cells, cells, 1)
        for i in mixable[rng.random(len(mixable)) < self.share]:
            rows, columns = _random_rectangle(crops.shape[1], rng)
            mixed[i, rows, columns] = crops[donors[i], rows, columns]
            cell_classes[i, self._cells_within(rows), self._cells_within(columns)] = classes[donors[i]]
        return mixed, cell_classes

    def cells(self, side_px: int) -> int:
        """Cells along one side of the logit map of a crop."""
        return side_px // self.cell_px

    def _cells_within(self, pixels: slice) -> slice:
        """The cells whose centres lie in a range of pixels."""
        half = self.cell_px / 2
        first, last = (int(np.ceil((end - half) / self.cell_px)) for end in (pixels.start, pixels.stop))
        return slice(first, last)


def _mirror_and_shift(crop: Pixels, rng: np.random.Generator) -> Pixels:
    """Mirror half of the crops and shift each by up to `MAX_SHIFT_PX`, without interpolation."""
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    left, up = rng.integers(0, 2 * MAX_SHIFT_PX + 1, 2)
    return corruptions.translate(crop, MAX_SHIFT_PX - int(left), MAX_SHIFT_PX - int(up))


def _rotate_recolour_and_erase(crop: Pixels, rng: np.random.Generator) -> Pixels:
    """Rotate and scale a little, change the colours, erase a rectangle: each with its own probability."""
    if rng.random() < 0.5:
        degrees, scale = rng.uniform(-10, 10), rng.uniform(0.9, 1.15)
        crop = corruptions.affine(crop, degrees, scale, (0, 0), pick(SMOOTH_INTERPOLATIONS[:2], rng))
    if rng.random() < 0.3:
        crop = corruptions.adjust_colour(
            crop,
            brightness=rng.uniform(-25, 25),
            contrast=rng.uniform(0.75, 1.25),
            saturation=rng.uniform(0.6, 1.4),
            gamma=rng.uniform(0.75, 1.3),
        )
    if rng.random() < 0.2:
        crop = _erase_rectangle(crop, rng)
    return crop


def _erase_rectangle(crop: Pixels, rng: np.random.Generator) -> Pixels:
    """Fill a rectangle of up to three eighths of the side with one colour (random erasing)."""
    side_px = crop.shape[0]
    height_px, width_px = rng.integers(side_px // 8, side_px * 3 // 8, 2)
    top, left = rng.integers(0, side_px - height_px), rng.integers(0, side_px - width_px)
    crop = crop.copy()
    crop[top : top + height_px, left : left + width_px] = rng.integers(0, 256, 3)
    return crop


def _random_rectangle(side_px: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns of 0.1 to 0.6 of the crop's area, one side up to twice the other."""
    area, aspect = rng.uniform(0.1, 0.6), 2 ** rng.uniform(-1, 1)
    height, width = (min(side_px, round(side_px * float(np.sqrt(area * ratio)))) for ratio in (aspect, 1 / aspect))
    top, left = int(rng.integers(0, side_px - height + 1)), int(rng.integers(0, side_px - width + 1))
    return slice(top, top + height), slice(left, left + width)
