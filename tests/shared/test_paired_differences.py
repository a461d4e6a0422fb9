"""Areas and intervals: against scikit-learn, against drawing pictures one by one, and where chance plays no part."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deepfake_detector.stats import area_under_roc, auc_difference, share_difference

LABELS = np.tile([0, 1], 200).astype(np.int64)


def noisy(noise: float, seed: int) -> np.ndarray:
    return np.clip(0.3 + 0.4 * LABELS + np.random.default_rng(seed).normal(0, noise, len(LABELS)), 0, 1)


@pytest.mark.parametrize("decimals", [1, 2, 16])  # few decimals: many ties
def test_area_is_scikit_learns(decimals: int) -> None:
    p_fake = np.round(noisy(0.3, 4), decimals)
    assert area_under_roc(LABELS, p_fake) == pytest.approx(roc_auc_score(LABELS, p_fake), abs=1e-12)


def test_interval_of_an_area_is_that_of_drawing_pictures_again() -> None:
    ours, theirs = noisy(0.25, 5), noisy(0.3, 6)
    random = np.random.default_rng(1)
    drawn = []
    for _ in range(300):
        rows = np.concatenate([random.choice(np.flatnonzero(y == LABELS), 200) for y in (0, 1)])
        drawn.append(roc_auc_score(LABELS[rows], ours[rows]) - roc_auc_score(LABELS[rows], theirs[rows]))
    found = auc_difference(LABELS, ours, theirs)
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.01)
    assert found.low < found.value < found.high


def test_pairing_leaves_nothing_to_chance_between_a_model_and_itself() -> None:
    p_fake = noisy(0.3, 7)
    found = auc_difference(LABELS, p_fake, p_fake)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    right = (p_fake > 0.5) == (LABELS == 1)
    found = share_difference(right, right)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_interval_of_a_share_is_that_of_drawing_pictures_again() -> None:
    random = np.random.default_rng(2)
    ours, theirs = random.random(300) < 0.9, random.random(300) < 0.85
    gap = ours.astype(int) - theirs.astype(int)
    drawn = [gap[random.integers(0, 300, 300)].mean() for _ in range(4000)]
    found = share_difference(ours, theirs)
    assert found.value == pytest.approx(gap.mean())
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.006)


def test_more_confidence_is_a_wider_interval_and_says_so() -> None:
    ours, theirs = noisy(0.3, 1) > 0.5, noisy(0.3, 2) > 0.5
    narrow, wide = share_difference(ours, theirs), share_difference(ours, theirs, 0.995)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert "95 % interval" in str(narrow)
    assert "99.5 % interval" in str(wide)


def test_the_same_scores_give_the_same_interval_every_time() -> None:
    assert auc_difference(LABELS, noisy(0.3, 1), noisy(0.3, 2)) == auc_difference(LABELS, noisy(0.3, 1), noisy(0.3, 2))
