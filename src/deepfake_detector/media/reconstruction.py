"""RGB uint8 (height, width, 3), a face and an autoencoder -> the region around the face, and its reconstruction.

Diffusion models, and many programs that animate faces, end in a neural decoder. A detector learns its traces best from
pairs with the same person, light and camera, of which one was decoded (docs/generalization.md).
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from deepfake_detector.media.corruptions import INTERPOLATIONS, SMOOTH_INTERPOLATIONS, pick
from deepfake_detector.media.face_detector import Face
from deepfake_detector.media.matched_degradation import cut_region, moved_face
from deepfake_detector.media.self_blending import face_mask

Pixels = NDArray[np.uint8]
Latents = NDArray[np.float32]

SQUARE_PX = (110.0, 256.0)  # side of FFHQ's square in a pair, log-uniform
MAX_ENLARGEMENT = 1.25
MIN_SIDE_PX = 64
MASKED_SHARE = 1 / 3  # blended into the real picture under a soft mask, as face animations are
SECOND_PASS_SHARE = 0.20
SMOOTH_SHARE, SMOOTH_SIGMA, SMOOTH_OPACITY = 0.25, 0.8, (0.1, 0.6)  # of latents, which generators do not draw exactly
NOISE_SHARE, NOISE = 0.40, (0.02, 0.20)  # standard deviations of the latents


class Autoencoder(Protocol):
    """As `model.autoencoder.TinyAutoencoder`."""

    def encode(self, rgb: Pixels, /) -> Latents:
        """RGB uint8 (8 rows, 8 columns, 3) -> latents (rows, columns, channels)."""
        ...

    def decode(self, latents: Latents, /) -> Pixels:
        """The other way round."""
        ...


def reconstructed_pair(
    rgb: Pixels, face: Face, autoencoder: Autoencoder, rng: np.random.Generator
) -> tuple[Pixels, Pixels]:
    """Two pictures of the same size: the face and its surroundings, and the same reconstructed.

    Args:
        rgb: (height, width, 3), the image the face was found in.
        face: the face.
        autoencoder: of the second picture.
        rng: the same state gives the same pair.
    """
    region, landmarks_px = _region(rgb, face, rng)
    return region, reconstruct(region, landmarks_px, autoencoder, rng)


def reconstruct(
    rgb: Pixels, landmarks_px: NDArray[np.float32], autoencoder: Autoencoder, rng: np.random.Generator
) -> Pixels:
    """Decode a region from its latents, changed a little at random, and blend it into the region in one case of three.

    Args:
        rgb: (height, width, 3), sides multiples of 8.
        landmarks_px: (5, 2) of the face in it.
        autoencoder: of the region.
        rng: the same state gives the same picture.
    """
    decoded = rgb
    for _ in range(2 if rng.random() < SECOND_PASS_SHARE else 1):
        decoded = autoencoder.decode(_changed(autoencoder.encode(decoded), rng))
    if rng.random() >= MASKED_SHARE:
        return decoded
    mask = face_mask(max(rgb.shape[:2]), landmarks_px, rng)[: rgb.shape[0], : rgb.shape[1], None]
    return np.asarray(np.clip(np.rint(rgb + (decoded.astype(np.float32) - rgb) * mask), 0, 255), np.uint8)


def _region(rgb: Pixels, face: Face, rng: np.random.Generator) -> tuple[Pixels, NDArray[np.float32]]:
    """The face and its surroundings at a random size, sides multiples of 8 px, and its landmarks (5, 2)."""
    region, corner_px, square_px = cut_region(rgb, face, rng)
    low, high = np.log(SQUARE_PX)
    factor = min(MAX_ENLARGEMENT, float(np.exp(rng.uniform(low, high))) / square_px)
    height_px, width_px = (max(MIN_SIDE_PX, round(side * factor / 8) * 8) for side in region.shape[:2])
    name = "area" if factor < 0.7 else pick(SMOOTH_INTERPOLATIONS, rng)
    resized = cv2.resize(region, (width_px, height_px), interpolation=INTERPOLATIONS[name])
    scale = np.array([width_px / region.shape[1], height_px / region.shape[0]], np.float32)
    return np.asarray(resized, np.uint8), moved_face(face, corner_px, scale).landmarks_px


def _changed(latents: Latents, rng: np.random.Generator) -> Latents:
    if rng.random() < SMOOTH_SHARE:
        channels = [cv2.GaussianBlur(latents[..., i], (0, 0), SMOOTH_SIGMA) for i in range(latents.shape[-1])]
        smooth = np.stack(channels, axis=-1)
        latents = latents + np.float32(rng.uniform(*SMOOTH_OPACITY)) * (smooth - latents)
    if rng.random() < NOISE_SHARE:
        sigma = np.float32(rng.uniform(*NOISE) * latents.std())
        latents = latents + sigma * rng.standard_normal(latents.shape, dtype=np.float32)
    return np.asarray(latents, np.float32)
