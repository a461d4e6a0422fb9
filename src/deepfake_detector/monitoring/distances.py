"""Values of a stream (n,) and weighted values of a reference (m,) -> distances with bootstrap intervals, and p values.

Weights let one reference stand for another share of fakes. A weighted reference counts as (sum w)^2 / sum w^2 values
(Kish 1965) wherever its size matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.stats import QUANTILES, Estimate

Floats = NDArray[np.float64]
PSI_BINS = 10  # deciles of the reference
FINE_BINS = 200  # of the bootstrap: resampling bins costs the same for a hundred answers as for a million
MIN_SHARE = 1e-4  # of an empty bin in the population stability index, whose logarithm would be infinite
MIN_EXPECTED = 5  # answers in a cell, below which chi-square's distribution does not hold; such cells are joined


@dataclass(frozen=True)
class NumericDistances:
    """How far a quantity of the stream lies from the reference.

    Attributes:
        ks: Kolmogorov-Smirnov distance, 0..1.
        wasserstein: in standard deviations of the reference.
        psi: population stability index over the reference's deciles.
        p_value: of the Kolmogorov-Smirnov test with two samples.
    """

    ks: Estimate
    wasserstein: Estimate
    psi: Estimate
    p_value: float


@dataclass(frozen=True)
class CategoryDistances:
    """How far shares of the stream lie from those of the reference.

    Attributes:
        total_variation: half the sum of the absolute differences of the shares, 0..1.
        p_value: of the chi-square test of homogeneity.
    """

    total_variation: Estimate
    p_value: float


def effective_size(weights: Floats) -> float:
    """How many equally weighted values these weights (m,) are worth."""
    return float(weights.sum() ** 2 / np.square(weights).sum())


def numeric_distances(
    stream: Floats, reference: Floats, weights: Floats, rng: np.random.Generator, resamples: int
) -> NumericDistances:
    """Distances of one quantity.

    Args:
        stream: (n,), without NaN; n > 0.
        reference: (m,), rising, without NaN; m > 0.
        weights: (m,), positive.
        rng: of the bootstrap.
        resamples: 0 gives intervals of length 0.
    """
    from scipy.stats import wasserstein_distance

    stream = np.sort(stream)
    ks = ks_distance(stream, reference, weights)
    scale = _deviation(reference, weights)
    wasserstein = float(wasserstein_distance(stream, reference, None, weights)) / scale
    edges = psi_edges(reference, weights)
    psi_counts = _counts(stream, edges), _counts(reference, edges, weights)
    psi = float(population_stability(*(each / each.sum() for each in psi_counts)))
    size = effective_size(weights)
    p_value = ks_p_value(ks, len(stream), size)
    if not resamples:
        return NumericDistances(_exact(ks), _exact(wasserstein), _exact(psi), p_value)
    gaps, widths = _resampled_gaps(stream, reference, weights, size, rng, resamples)
    psi_shares = _resampled(*psi_counts, size, rng, resamples)
    return NumericDistances(
        ks=_centred(ks, gaps.max(axis=1, initial=0.0), 1.0),
        wasserstein=_centred(wasserstein, (gaps * widths).sum(axis=1) / scale),
        psi=_centred(psi, population_stability(*psi_shares)),
        p_value=p_value,
    )


def ks_distance(stream: Floats, reference: Floats, weights: Floats) -> float:
    """Largest difference of the two distribution functions; both samples rise."""
    at = np.concatenate([stream, reference])
    ours = np.searchsorted(stream, at, "right") / len(stream)
    cumulated = np.concatenate([[0.0], np.cumsum(weights)])
    theirs = cumulated[np.searchsorted(reference, at, "right")] / cumulated[-1]
    return float(np.abs(ours - theirs).max())


def ks_p_value(distance: float, stream: float, reference: float) -> float:
    """Probability of such a distance between two samples of these sizes: Kolmogorov's limit, corrected for small ones.

    The correction is that of Stephens (1970); `scipy.stats.ks_2samp` differs by less than a tenth of the value and
    takes fifty times as long.
    """
    from scipy.special import kolmogorov

    root = float(np.sqrt(stream * reference / (stream + reference)))
    return float(kolmogorov((root + 0.12 + 0.11 / root) * distance))


def psi_edges(reference: Floats, weights: Floats) -> Floats:
    """Inner edges of the bins: deciles of the weighted reference, each once."""
    cumulated = np.cumsum(weights) / weights.sum()
    rows = np.searchsorted(cumulated, np.arange(1, PSI_BINS) / PSI_BINS)
    return np.unique(reference[np.minimum(rows, len(reference) - 1)])


def population_stability(ours: Floats, theirs: Floats) -> Floats:
    """Sum over the last axis of (a - e) ln(a / e), of shares (..., k)."""
    from scipy.special import rel_entr

    ours, theirs = np.maximum(ours, MIN_SHARE), np.maximum(theirs, MIN_SHARE)
    return np.asarray((rel_entr(ours, theirs) + rel_entr(theirs, ours)).sum(axis=-1), np.float64)


def category_distances(
    stream: Floats, reference: Floats, size: float, rng: np.random.Generator, resamples: int
) -> CategoryDistances:
    """Distance of the shares of categories.

    Args:
        stream: (k,) counts.
        reference: (k,) counts, weighted.
        size: how many answers the reference is worth.
        rng, resamples: of the bootstrap.
    """
    ours, theirs = stream / stream.sum(), reference / reference.sum()
    value = float(np.abs(ours - theirs).sum() / 2)
    resampled = _resampled(stream, reference, size, rng, resamples)
    distances = np.abs(resampled[0] - resampled[1]).sum(axis=1) / 2
    return CategoryDistances(_centred(value, distances, 1.0), chi_square_p_value(stream, theirs * size))


def chi_square_p_value(ours: Floats, theirs: Floats) -> float:
    """Of the test of homogeneity of counts (k,) and (k,); cells with few expected answers are joined."""
    from scipy.special import chdtrc

    table = np.stack([ours, theirs])
    table = table[:, np.argsort(table.sum(axis=0))]
    smallest = np.cumsum(table.sum(axis=0)) * table.sum(axis=1).min() / table.sum()
    joined = min(int(np.searchsorted(smallest, MIN_EXPECTED)) + 1, len(ours))
    table = np.concatenate([table[:, :joined].sum(axis=1, keepdims=True), table[:, joined:]], axis=1)
    if table.shape[1] < 2:
        return 1.0
    expected = table.sum(axis=0) * table.sum(axis=1, keepdims=True) / table.sum()
    return float(chdtrc(table.shape[1] - 1, (np.square(table - expected) / expected).sum()))


def holm(p_values: Floats) -> Floats:
    """Adjusted p values (k,): below alpha with a probability of at most alpha if nothing differs (Holm 1979).

    NaN, which was not tested, stays and does not count.
    """
    adjusted = np.full(len(p_values), np.nan)
    rows = np.flatnonzero(~np.isnan(p_values))
    order = rows[np.argsort(p_values[rows], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1.0)
    return adjusted


def _deviation(values: Floats, weights: Floats) -> float:
    mean = np.average(values, weights=weights)
    deviation = float(np.sqrt(np.average(np.square(values - mean), weights=weights)))
    return deviation or 1.0


def _counts(values: Floats, edges: Floats, weights: Floats | None = None) -> Floats:
    """(k + 1,) weights of the values between inner edges (k,); a value at an edge lies below it."""
    bins = np.searchsorted(edges, values, "left")
    return np.bincount(bins, weights, minlength=len(edges) + 1).astype(np.float64)


def _resampled(
    stream: Floats, reference: Floats, size: float, rng: np.random.Generator, resamples: int
) -> tuple[Floats, Floats]:
    """Shares (resamples, k) of both samples, each drawn again with its own size."""
    ours = rng.multinomial(int(stream.sum()), stream / stream.sum(), resamples) / stream.sum()
    drawn = max(1, round(size))
    return ours, rng.multinomial(drawn, reference / reference.sum(), resamples) / drawn


def _resampled_gaps(
    stream: Floats, reference: Floats, weights: Floats, size: float, rng: np.random.Generator, resamples: int
) -> tuple[Floats, Floats]:
    """Differences (resamples, k) of the distribution functions at k values, and the distances (k,) between these."""
    levels = np.linspace(0, 1, FINE_BINS + 1)[1:-1]
    fine = np.unique(np.quantile(np.concatenate([stream, reference]), levels))
    ours, theirs = _resampled(_counts(stream, fine), _counts(reference, fine, weights), size, rng, resamples)
    return np.abs(np.cumsum(ours - theirs, axis=1)[:, :-1]), np.diff(fine, append=fine[-1])


def _exact(value: float) -> Estimate:
    return Estimate(value, value, value)


def _centred(value: float, resampled: Floats, highest: float = np.inf) -> Estimate:
    """The percentile interval, moved by its bias: distances of resamples lie above the distance of the samples."""
    if not len(resampled):
        return _exact(value)
    low, high = np.quantile(resampled, QUANTILES) - resampled.mean() + value
    return Estimate(value, float(np.clip(low, 0.0, value)), float(np.clip(high, value, highest)))
