"""Answers about pictures by one model + a reference -> distances per window and quantity, and shares of fakes.

A window is one day, or all days together. Every quantity is compared twice: with the reference as it is, and with the
reference weighted to the stream's estimated share of fakes. What the second comparison explains is prior shift.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detector.model.bundle_profile import QUANTITIES, Quantity
from deepfake_detector.monitoring.distances import category_distances, holm, numeric_distances
from deepfake_detector.monitoring.fake_share import estimate_fake_share
from deepfake_detector.monitoring.reference import Category, Reference, stream_counts
from deepfake_detector.stats import SEED, Estimate

ALL_DAYS = "all days"
# Smallest number of pictures of a window: with fewer, not even a distance of 0.2 would be told from chance after the
# correction for a week's tests.
MIN_PICTURES = 200
RESAMPLES = 200
ALPHA = 0.01  # probability of a false alarm of one report, over all windows and quantities (Holm)
# Distances up to these are no drift, however many pictures show them: days and weekends differ by as much.
LIMITS: dict[Quantity | Category, float] = {**dict.fromkeys(QUANTITIES, 0.1), "faces": 0.05, "unscored": 0.05}
ESTIMATES = ("distance", "wasserstein", "psi", "weighted_distance")


@dataclass(frozen=True, eq=False)
class Measurements:
    """What was measured of one model.

    Attributes:
        table: a row per window and quantity: window, quantity, pictures, limit; `distance` (Kolmogorov-Smirnov, of
            categories total variation), `wasserstein`, `psi` and `weighted_distance`, each with _low and _high;
            p_value, weighted_p_value and both adjusted (`p_adjusted`, `weighted_p_adjusted`). NaN below MIN_PICTURES.
        shares: window -> estimated share of fakes; windows with too few scored pictures are missing.
    """

    table: pd.DataFrame
    shares: dict[str, Estimate]


def measure(answers: pd.DataFrame, reference: Reference, resamples: int = RESAMPLES, seed: int = SEED) -> Measurements:
    """Compare all days together and each day with the reference.

    Args:
        answers: rows of `LoggedAnswers.table` about pictures, by one model.
        reference: of that model.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    rows, shares = list[dict[str, Any]](), dict[str, Estimate]()
    for window, part in _windows(answers):
        scored = part["p_fake"].to_numpy(np.float64)
        scored = scored[~np.isnan(scored)]
        share = estimate_fake_share(scored, reference.scores, rng, resamples) if len(scored) >= MIN_PICTURES else None
        if share is not None:
            shares[window] = share
        target = None if share is None else share.value
        for row in _rows(part, reference, target, rng, resamples):
            rows.append({"window": window, **row})
    table = pd.DataFrame(rows)
    for name in ("p", "weighted_p"):
        table[f"{name}_adjusted"] = holm(table[f"{name}_value"].to_numpy(np.float64))
    return Measurements(table, shares)


def _windows(answers: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield ALL_DAYS, answers
    if answers["day"].nunique() > 1:
        for day, part in answers.groupby("day", sort=True):
            yield str(day), part


def _rows(
    part: pd.DataFrame, reference: Reference, share: float | None, rng: np.random.Generator, resamples: int
) -> Iterator[dict[str, Any]]:
    for quantity in QUANTITIES:
        column = part[quantity].to_numpy(np.float64)
        values = column[~np.isnan(column)]
        measured = len(values) >= MIN_PICTURES and len(reference.values[quantity]) >= MIN_PICTURES
        found = _numeric(quantity, values, reference, share, rng, resamples) if measured else _nothing()
        yield {"quantity": quantity, "pictures": len(values), "limit": LIMITS[quantity], **found}
    for category, counts in stream_counts(part).items():
        measured = min(counts.sum(), reference.counts[category].sum()) >= MIN_PICTURES
        found = _category(category, counts, reference, share, rng, resamples) if measured else _nothing()
        yield {"quantity": category, "pictures": int(counts.sum()), "limit": LIMITS[category], **found}


def _numeric(
    quantity: Quantity, values: Any, reference: Reference, share: float | None, rng: np.random.Generator, resamples: int
) -> dict[str, float]:
    sample = reference.values[quantity]
    plain = numeric_distances(values, sample, np.ones(len(sample)), rng, resamples)
    weighted = plain
    if share is not None:
        weighted = numeric_distances(values, sample, reference.weights(quantity, share), rng, resamples)
    return {
        **_named("distance", plain.ks), **_named("wasserstein", plain.wasserstein), **_named("psi", plain.psi),
        **_named("weighted_distance", weighted.ks), "p_value": plain.p_value, "weighted_p_value": weighted.p_value,
    }  # fmt: skip


def _category(
    category: Category, counts: Any, reference: Reference, share: float | None, rng: np.random.Generator, resamples: int
) -> dict[str, float]:
    plain = category_distances(counts, *reference.weighted_counts(category, None), rng, resamples)
    weighted = category_distances(counts, *reference.weighted_counts(category, share), rng, resamples)
    return _nothing() | {
        **_named("distance", plain.total_variation), **_named("weighted_distance", weighted.total_variation),
        "p_value": plain.p_value, "weighted_p_value": weighted.p_value,
    }  # fmt: skip


def _nothing() -> dict[str, float]:
    estimates = {f"{name}{end}": np.nan for name in ESTIMATES for end in ("", "_low", "_high")}
    return estimates | {"p_value": np.nan, "weighted_p_value": np.nan}


def _named(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
