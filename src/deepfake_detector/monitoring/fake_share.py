"""Scores of a stream (n,) and of labelled pictures -> the share of fakes in the stream, with its interval, no labels.

The stream's scores are read as a mixture of the scores that labelled real and fake pictures got, pi of the one and
1 - pi of the other. Its maximum-likelihood pi is what expectation maximisation over calibrated scores converges to
(Saerens, Latinne and Decaestecker 2002), here with the measured densities in place of the calibrated ones.

Assumption: fakes of the stream score like the labelled fakes, real pictures like the labelled real ones (prior shift
alone). A new generator that the model misses looks like fewer fakes: no method without labels can tell the two apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.stats import QUANTILES, Estimate

Floats = NDArray[np.float64]
BINS = 20  # of equal numbers of labelled pictures
_STEPS = 30  # of bisection: pi to 1e-9
_SMOOTHING = 0.5  # pictures added to each bin, so that no score is impossible for a class


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Scores of labelled pictures; both are needed.

    Attributes:
        real, fake: p_fake of each class, (m0,) and (m1,).
    """

    real: Floats
    fake: Floats

    @property
    def usable(self) -> bool:
        """Whether both classes occur."""
        return bool(len(self.real) and len(self.fake))

    @property
    def edges(self) -> Floats:
        """Inner edges of the bins."""
        pooled = np.concatenate([self.real, self.fake])
        return np.unique(np.quantile(pooled, np.linspace(0, 1, BINS + 1)[1:-1]))


def estimate_fake_share(
    stream: Floats, scores: ClassScores, rng: np.random.Generator, resamples: int
) -> Estimate | None:
    """The share with its bootstrap interval, over the stream and the labelled pictures; None without both classes.

    Args:
        stream: (n,) p_fake of scored answers; n > 0.
        scores: of labelled pictures.
        rng, resamples: of the bootstrap; without resamples the interval has length 0.
    """
    if not scores.usable or not len(stream):
        return None
    edges = scores.edges
    ours, reals, fakes = (_histogram(values, edges) for values in (stream, scores.real, scores.fake))
    value = float(mixture_share(ours, reals, fakes)[0])
    if not resamples:
        return Estimate(value, value, value)
    drawn = [rng.multinomial(int(each.sum()), each[0] / each.sum(), resamples) for each in (ours, reals, fakes)]
    low, high = np.quantile(mixture_share(*(each.astype(np.float64) for each in drawn)), QUANTILES)
    return Estimate(value, min(float(low), value), max(float(high), value))


def mixture_share(stream: Floats, reals: Floats, fakes: Floats) -> Floats:
    """(b,) maximum-likelihood shares of fakes, of counts (b, k); the likelihood is concave, so bisection finds it."""
    densities = _densities(reals), _densities(fakes)
    difference = densities[1] - densities[0]
    low, high = np.zeros(len(stream)), np.ones(len(stream))
    for _ in range(_STEPS):
        share = (low + high) / 2
        slope = (stream * difference / (densities[0] + share[:, None] * difference)).sum(axis=1)
        low, high = np.where(slope > 0, share, low), np.where(slope > 0, high, share)
    return np.asarray((low + high) / 2)


def fake_probabilities(stream: Floats, scores: ClassScores, fake_share: float) -> Floats:
    """(n,) probability that each answer is about a fake, where this share of all are.

    Args:
        stream: (n,) p_fake.
        scores: of labelled pictures, of both classes.
        fake_share: of the stream.
    """
    edges = scores.edges
    reals, fakes = (_densities(_histogram(each, edges))[0] for each in (scores.real, scores.fake))
    posterior = fake_share * fakes / (fake_share * fakes + (1 - fake_share) * reals)
    return np.asarray(posterior[np.searchsorted(edges, stream, "left")])


def _densities(counts: Floats) -> Floats:
    smoothed = counts + _SMOOTHING
    return np.asarray(smoothed / smoothed.sum(axis=1, keepdims=True))


def _histogram(values: Floats, edges: Floats) -> Floats:
    return np.bincount(np.searchsorted(edges, values, "left"), minlength=len(edges) + 1)[None].astype(np.float64)
