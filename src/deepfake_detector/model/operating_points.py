"""Calibrated scores (n,), labels (n,) and sources of validation files -> the thresholds clear, flag and strict.

The worst source sets `flag` and `strict`: a rate that holds on average may be exceeded threefold on one camera, and a
wrong accusation is the costlier error. `clear` has its rate on average over the sources of fakes, each counted alike.
Source of the extrapolation: Pickands 1975, excesses over a high threshold; with shape 0 they are exponential.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.model.bundle_contract import Thresholds

Floats = NDArray[np.float64]
MIN_GROUP_FILES = 50  # a smaller source counts in the pool alone: its highest score is an accident
MIN_EXCEEDING = 5  # files beyond a threshold from which on it is read off the scores themselves
TAIL_SHARE, MIN_TAIL_FILES = 0.1, 10  # else it is extrapolated from the logits of this part of the files


@dataclass(frozen=True)
class ErrorRates:
    """Error rates to aim at, each above 0 and under 1."""

    flag_false_positives: float
    strict_false_positives: float
    clear_false_negatives: float


def fit_thresholds(
    p_fake: Floats, labels: NDArray[np.int64], groups: Sequence[str], rates: ErrorRates, copies: int = 1
) -> Thresholds:
    """Thresholds of the real sources' worst and the fake sources' mean rate: `clear` at most 0.5, `flag` at least 0.5.

    `clear` at the worst source's rate would answer hardly any file: the kind of fake that is hardest to detect scores
    like a real face.
    A `flag` below 0.5 would answer "fake" where real is more likely. For well separated classes `clear` and `flag` are
    therefore both 0.5, and nothing is inconclusive.

    Args:
        p_fake: (n,) calibrated probabilities of validation files.
        labels: (n,), 1 = fake.
        groups: (n,), the source of each file, of fakes with their kind.
        rates: to aim at.
        copies: scores of each file; a group needs 50 files.
    """
    names, real = np.array(groups), labels == 0

    def pooled_and_groups(rows: NDArray[np.bool_]) -> list[Floats]:
        each = [p_fake[rows & (names == name)] for name in sorted(set(names[rows].tolist()))]
        return [p_fake[rows], *(scores for scores in each if len(scores) >= MIN_GROUP_FILES * copies)]

    flag = max(threshold_at_rate(scores, rates.flag_false_positives) for scores in pooled_and_groups(real))
    strict = max(threshold_at_rate(scores, rates.strict_false_positives) for scores in pooled_and_groups(real))
    fakes = pooled_and_groups(~real)
    clear = 1 - threshold_at_mean_rate([1 - scores for scores in fakes[1:] or fakes], rates.clear_false_negatives)
    return Thresholds(clear=float(np.clip(clear, 0.0, 0.5)), flag=max(flag, 0.5), strict=max(strict, flag, 0.5))


def keep_starting_thresholds(thresholds: Thresholds, start: Thresholds, labels: NDArray[np.int64]) -> Thresholds:
    """Thresholds of a fine-tuned model: of few files no more is decided than by the model that it started from.

    Args:
        thresholds: of the fine-tuned model, see `fit_thresholds`.
        start: of the model before.
        labels: (n,) of the validation files, 1 = fake. With 50 of a class its thresholds are the fitted ones.
    """
    reals, fakes = int((labels == 0).sum()), int((labels == 1).sum())
    flag, strict, clear = thresholds.flag, thresholds.strict, thresholds.clear
    if reals < MIN_GROUP_FILES:
        flag, strict = max(flag, start.flag), max(strict, start.strict)
    return Thresholds(clear=min(clear, start.clear) if fakes < MIN_GROUP_FILES else clear, flag=flag, strict=strict)


def threshold_at_rate(scores: Floats, rate: float) -> float:
    """The smallest threshold that at most this share of the scores reaches, 0 to 1.

    Where fewer than 5 scores would lie above it, it is extrapolated: the logits above their 90th percentile exceed it
    by an exponentially distributed amount. The highest of 50 scores would be reached by 2 % of the next ones, not 1 %.

    Args:
        scores: (n,) probabilities; none give 0.
        rate: 0 to 1.
    """
    falling = np.sort(scores)[::-1]
    exceeding = int(np.floor(rate * len(falling)))
    if exceeding >= len(falling):
        return 0.0
    observed = float(min(np.nextafter(falling[exceeding], np.inf), 1.0))
    if exceeding >= MIN_EXCEEDING or len(falling) < 2 * MIN_TAIL_FILES:
        return observed
    logits = logit(falling)
    tail = max(MIN_TAIL_FILES, int(TAIL_SHARE * len(falling)))
    start = logits[tail]
    scale = float((logits[:tail] - start).mean())
    share = tail / len(falling)
    return float(expit(start + scale * np.log(share / max(rate, 1e-9)))) if rate < share else observed


def threshold_at_mean_rate(groups: Sequence[Floats], rate: float) -> float:
    """The smallest threshold that at most this share of the scores reaches, on average over groups that count alike.

    Args:
        groups: one or more arrays of probabilities, none empty; of a single one `threshold_at_rate` is returned.
        rate: 0 to 1.
    """
    if len(groups) == 1:
        return threshold_at_rate(groups[0], rate)
    scores = np.concatenate(groups)
    shares = np.concatenate([np.full(len(group), 1 / (len(group) * len(groups))) for group in groups])
    falling = np.argsort(-scores, kind="stable")
    exceeding = int(np.searchsorted(np.cumsum(shares[falling]), rate + 1e-12, side="right"))
    return float(min(np.nextafter(scores[falling][exceeding], np.inf), 1.0)) if exceeding < len(scores) else 0.0


def logit(p: Floats) -> Floats:
    """Probabilities -> their logits, within +-16."""
    inside = np.clip(p, 1e-7, 1 - 1e-7)
    return np.asarray(np.log(inside) - np.log1p(-inside), np.float64)


def expit(logits: Floats | float) -> Floats:
    """Logits -> probabilities."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(logits))), np.float64)
