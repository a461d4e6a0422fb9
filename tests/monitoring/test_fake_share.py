"""The share of fakes without labels, against the truth and against another way of finding it."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake_detector.monitoring.fake_share import (
    ClassScores,
    estimate_fake_share,
    fake_probabilities,
    mixture_share,
)


def scores(n: int = 2000, seed: int = 1) -> ClassScores:
    rng = np.random.default_rng(seed)
    return ClassScores(rng.beta(1, 4, n), rng.beta(4, 1, n))


@pytest.mark.parametrize("truth", [0.0, 0.02, 0.3, 0.7, 1.0])
def test_the_share_of_a_mixture_is_found(truth: float) -> None:
    rng = np.random.default_rng(2)
    stream = np.where(rng.random(4000) < truth, rng.beta(4, 1, 4000), rng.beta(1, 4, 4000))
    found = estimate_fake_share(stream, scores(), rng, 200)
    assert found is not None
    assert found.value == pytest.approx(truth, abs=0.03)
    assert found.low <= found.value <= found.high
    assert found.high - found.low < 0.08


def test_it_is_what_expectation_maximisation_converges_to() -> None:
    rng = np.random.default_rng(3)
    stream, reals, fakes = (rng.integers(1, 100, (1, 12)).astype(float) for _ in range(3))
    real, fake = ((each + 0.5) / (each + 0.5).sum() for each in (reals, fakes))
    share = 0.5
    for _ in range(20_000):
        posterior = share * fake / (share * fake + (1 - share) * real)
        share = float((stream * posterior).sum() / stream.sum())
    assert mixture_share(stream, reals, fakes)[0] == pytest.approx(share, abs=1e-6)


def test_one_class_alone_says_nothing() -> None:
    one = ClassScores(np.zeros(0), np.full(50, 0.9))
    assert estimate_fake_share(np.full(10, 0.9), one, np.random.default_rng(0), 10) is None
    assert estimate_fake_share(np.zeros(0), scores(), np.random.default_rng(0), 10) is None


def test_probabilities_of_single_answers_are_calibrated_at_that_share() -> None:
    rng = np.random.default_rng(4)
    fake = rng.random(20_000) < 0.2
    stream = np.where(fake, rng.beta(4, 1, 20_000), rng.beta(1, 4, 20_000))
    probability = fake_probabilities(stream, scores(), 0.2)
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 1.0)):
        rows = (probability >= low) & (probability <= high)
        if rows.sum() > 200:
            assert fake[rows].mean() == pytest.approx(probability[rows].mean(), abs=0.06)


def test_fakes_that_score_like_real_pictures_look_like_fewer_fakes() -> None:
    """The limit that the page states: without labels this cannot be seen."""
    rng = np.random.default_rng(5)
    fake = rng.random(4000) < 0.4
    missed = fake & (rng.random(4000) < 0.5)
    stream = np.where(fake & ~missed, rng.beta(4, 1, 4000), rng.beta(1, 4, 4000))
    found = estimate_fake_share(stream, scores(), rng, 100)
    assert found is not None
    assert found.high < 0.25
