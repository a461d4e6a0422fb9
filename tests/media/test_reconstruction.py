"""The two pictures of a pair show the same region at the same size; the second one went through the autoencoder."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.media.face_detector import Face, FaceDetector
from deepfake_detector.media.reconstruction import Latents, reconstruct, reconstructed_pair

Pixels = NDArray[np.uint8]


class Blocks:
    """An autoencoder whose latents are the mean colours of blocks of 8 px."""

    def __init__(self) -> None:
        self.passes = 0

    def encode(self, rgb: Pixels, /) -> Latents:
        self.passes += 1
        small = cv2.resize(rgb, (rgb.shape[1] // 8, rgb.shape[0] // 8), interpolation=cv2.INTER_AREA)
        return small.astype(np.float32)

    def decode(self, latents: Latents, /) -> Pixels:
        return np.clip(np.rint(latents), 0, 255).astype(np.uint8).repeat(8, 0).repeat(8, 1)


@pytest.fixture(scope="module")
def large(portrait: Pixels) -> Pixels:
    return np.asarray(cv2.resize(portrait, (600, 700)), np.uint8)


@pytest.fixture(scope="module")
def face(large: Pixels, detector: FaceDetector) -> Face:
    return detector.find(large)[0]


def test_pairs_have_one_size_whose_sides_are_multiples_of_eight(large: Pixels, face: Face) -> None:
    sides = set()
    for seed in range(30):
        real, fake = reconstructed_pair(large, face, Blocks(), np.random.default_rng(seed))
        assert real.shape == fake.shape
        assert (real.shape[0] % 8, real.shape[1] % 8) == (0, 0)
        assert not np.array_equal(real, fake)
        again = reconstructed_pair(large, face, Blocks(), np.random.default_rng(seed))
        assert np.array_equal(again[0], real)
        assert np.array_equal(again[1], fake)
        sides.add(real.shape[0])
    assert len(sides) > 8
    assert min(sides) < 190 < 260 < max(sides)


def test_the_face_is_found_in_the_region(large: Pixels, face: Face, detector: FaceDetector) -> None:
    for seed in range(10):
        real, _ = reconstructed_pair(large, face, Blocks(), np.random.default_rng(seed))
        assert len(detector.find(real)) == 1


def test_a_third_is_masked_and_a_fifth_passes_twice(portrait: Pixels, face: Face) -> None:
    region = np.ascontiguousarray(portrait[:200, :200])
    landmarks = np.array([(70, 80), (130, 80), (100, 115), (75, 145), (125, 145)], np.float32)
    masked, twice, n = 0, 0, 200
    for seed in range(n):
        blocks = Blocks()
        changed = (reconstruct(region, landmarks, blocks, np.random.default_rng(seed)) != region).any(axis=2)
        masked += int(not changed[:6].any())  # the edge stays as it is
        twice += int(blocks.passes == 2)
    assert masked / n == pytest.approx(1 / 3, abs=0.12)
    assert twice / n == pytest.approx(0.2, abs=0.1)
