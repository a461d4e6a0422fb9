"""Test crops (n, side, side, 3) and a score -> what the honesty probes and the explanation check find out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.data.shards import Held
from deepfake_detector.evidence.explanation import Explanation, explain
from deepfake_detector.evidence.probes import Probe, probe_background, probe_drift
from deepfake_detector.media.degrade import blur, turn
from deepfake_detector.model.augment import as_traffic
from deepfake_detector.settings import Evaluate
from pipelines.grid import Score

Pixels = NDArray[np.uint8]
# What a face is as real or fake after as before; what comes in from outside is the mirror image.
CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "flipped": lambda crop: np.ascontiguousarray(crop[:, ::-1]),
    "shifted 8 px right and down": lambda crop: turn(crop, 0, 1, (8, 8)),
    "shifted 8 px left and up": lambda crop: turn(crop, 0, 1, (-8, -8)),
    "turned by 10 degrees": lambda crop: turn(crop, 10),
    "turned by -10 degrees": lambda crop: turn(crop, -10),
    "scaled by 0.9": lambda crop: turn(crop, 0, 0.9),
    "scaled by 1.1": lambda crop: turn(crop, 0, 1.1),
}
# Half axes of the ellipse over brows, eyes, nose and mouth: in eye distances, in distances from eyes to mouth.
CORE_WIDTH, CORE_HEIGHT, CORE_BORDER = 0.95, 1.0, 0.1
BLURRED_AWAY = 16  # sigma is the side over this: 8 px of 128, where no trace of an encoder or a generator survives


def sent(crops: Pixels, seed: int) -> Pixels:
    """The crops as websites and phones would leave them; each depends on the seed and its place alone."""
    return np.stack([as_traffic(crop, np.random.default_rng([seed, i])) for i, crop in enumerate(crops)])


def probe_crops(test: Held, p_fake: NDArray[np.float64], score: Score, how: Evaluate) -> list[Probe]:
    """Change crops in ways that must not matter, and cover their parts.

    Args:
        test: crops of both classes.
        p_fake: (n,) of the crops as they are.
        score: of the calibrated engine.
        how: the limits.
    """
    drifts = [
        probe_drift(name, p_fake, score(np.stack([change(crop) for crop in test.crops])), how.max_score_drift)
        for name, change in CHANGES.items()
    ]
    background, face = (score(_covered(test, inside)) for inside in (True, False))
    labels = test.labels
    return [*drifts, probe_background(p_fake, background, face, labels, how.min_background_gap)]


def check_explanation(crops: Pixels, maps: NDArray[np.float32], score: Score, seed: int) -> Explanation | None:
    """Deletion and insertion; None where a map has one cell and shows nothing, or there is nothing to compare.

    Args:
        crops: (n, side, side, 3).
        maps: (n, h, w) that the engine drew for them.
        score: of the calibrated engine.
        seed: of the random order.
    """
    if len(crops) < 2 or maps[0].size < 2:
        return None
    blurred = np.stack([blur(crop, crop.shape[0] / BLURRED_AWAY) for crop in crops])
    return explain(crops, blurred, maps, score, seed)


def face_core(landmarks_px: NDArray[np.float32], side_px: int) -> NDArray[np.float32]:
    """A soft mask (side, side), 1 over brows, eyes, nose and mouth, 0 over what surrounds them.

    Args:
        landmarks_px: (5, 2) in an upright crop: two eyes, nose, two mouth corners.
        side_px: of the crop.
    """
    eyes, mouth = landmarks_px[:2].mean(axis=0), landmarks_px[3:].mean(axis=0)
    middle = (eyes + mouth) / 2
    half = np.array([
        CORE_WIDTH * np.linalg.norm(landmarks_px[1] - landmarks_px[0]), CORE_HEIGHT * np.linalg.norm(mouth - eyes),
    ])  # fmt: skip
    rows, columns = np.mgrid[:side_px, :side_px] + 0.5
    far = np.hypot((columns - middle[0]) / max(half[0], 1), (rows - middle[1]) / max(half[1], 1))
    return np.asarray(np.clip((1 + CORE_BORDER - far) / CORE_BORDER, 0, 1), np.float32)


def _covered(test: Held, inside: bool) -> Pixels:
    """Crops whose face, or all but the face, is painted over with the mean colour of what stays to be seen.

    The mean colour of what is hidden would tell of it.
    """
    return np.stack([_cover(crop, face_core(place, crop.shape[0]), inside)
                     for crop, place in zip(test.crops, test.landmarks_px, strict=True)])  # fmt: skip


def _cover(crop: Pixels, core: NDArray[np.float32], inside: bool) -> Pixels:
    hidden = (core if inside else 1 - core)[..., None]
    colour = (crop * (1 - hidden)).sum(axis=(0, 1)) / max(float((1 - hidden).sum()), 1e-6)
    return np.asarray(np.rint(crop * (1 - hidden) + colour * hidden), np.uint8)
