"""The gate: who becomes champion, and whether its numbers are right."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from deepfake_detector.registry.gate import Scores, area_under_roc, decide, difference_interval
from deepfake_detector.settings import Register

RULES = Register(experiment="e", model_name="m", min_accuracy=0.6, max_auc_loss=0.01)
LABELS = np.tile([0, 1], 200).astype(np.int64)


def scores(noise: float, seed: int = 0, bundle: str = "a", **changed: object) -> Scores:
    p_fake = np.clip(0.3 + 0.4 * LABELS + np.random.default_rng(seed).normal(0, noise, len(LABELS)), 0, 1)
    values = {
        "labels": LABELS,
        "p_fake": p_fake,
        "accuracy": float(np.mean((p_fake >= 0.5) == LABELS)),
        "test_digest": "t",
        "trained_on": "photographs",
        "bundle_sha256": bundle,
    }
    return Scores(**(values | changed))  # type: ignore[arg-type]


def test_first_candidate_becomes_champion() -> None:
    decision = decide(scores(0.2), None, RULES)
    assert decision.promote
    assert "no champion" in decision.reasons[-1]


def test_a_coin_never_becomes_champion_even_without_a_rival() -> None:
    decision = decide(scores(0.2, accuracy=0.59), None, RULES)
    assert not decision.promote
    assert decision.reasons == ("refused: accuracy 0.5900, at least 0.6 asked for (register.min_accuracy)",)


def test_accuracy_exactly_at_the_floor_is_enough() -> None:
    assert decide(scores(0.2, accuracy=0.6), None, RULES).promote


def test_better_candidate_wins_and_says_by_how_much() -> None:
    decision = decide(scores(0.15, 1, "new"), scores(0.4, 2, "old"), RULES)
    assert decision.promote
    assert decision.figures["auc"] > decision.figures["auc_champion"]
    assert decision.figures["auc_low"] > 0
    assert (
        f"{decision.figures['auc']:.4f} against the champion's {decision.figures['auc_champion']:.4f}"
        in (decision.reasons[1])
    )


def test_worse_candidate_is_refused() -> None:
    decision = decide(scores(0.4, 1, "new"), scores(0.15, 2, "old"), RULES)
    assert not decision.promote
    assert decision.figures["auc_high"] < 0
    assert "refused" in decision.reasons[-1]


@pytest.mark.parametrize(("loss", "promote"), [(0.02, True), (0.0001, False)])
def test_a_small_loss_is_judged_by_the_tolerance(loss: float, promote: bool) -> None:
    champion = scores(0.2, 3, "old")
    worse = np.where((LABELS == 0) & (np.arange(len(LABELS)) < 10), 0.99, champion.p_fake)  # five reals called fake
    candidate = scores(0.2, 3, "new", p_fake=worse)
    fallen = area_under_roc(LABELS, champion.p_fake) - area_under_roc(LABELS, worse)
    assert 0.0001 < fallen < 0.1
    rules = Register(experiment="e", model_name="m", min_accuracy=0.6, max_auc_loss=fallen + (loss - 0.01) / 10)
    assert decide(candidate, champion, rules).promote is promote


def test_the_champion_itself_is_left_alone() -> None:
    decision = decide(scores(0.2, 1, "same"), scores(0.2, 1, "same"), RULES)
    assert (decision.promote, decision.reasons) == (False, ("the candidate is the champion already",))


@pytest.mark.parametrize(
    ("changed", "word"),
    [({"test_digest": "other"}, "test pictures"), ({"trained_on": "drawn sample"}, "another kind of data")],
)
def test_what_cannot_be_compared_is_not_compared(changed: dict[str, object], word: str) -> None:
    decision = decide(scores(0.3, 1, "new"), scores(0.1, 2, "old", **changed), RULES)
    assert decision.promote
    assert word in decision.reasons[-1]
    assert "previous" in decision.reasons[-1]
    assert "auc" not in decision.figures


@pytest.mark.parametrize("decimals", [1, 2, 16])  # few decimals: many ties
def test_area_is_scikit_learns(decimals: int) -> None:
    p_fake = np.round(scores(0.3, 4).p_fake, decimals)
    assert area_under_roc(LABELS, p_fake) == pytest.approx(roc_auc_score(LABELS, p_fake), abs=1e-12)


def test_interval_is_that_of_drawing_pictures_again() -> None:
    ours, theirs = scores(0.25, 5).p_fake, scores(0.3, 6).p_fake
    random = np.random.default_rng(1)
    drawn = []
    for _ in range(300):
        rows = np.concatenate([random.choice(np.flatnonzero(y == LABELS), 200) for y in (0, 1)])
        drawn.append(roc_auc_score(LABELS[rows], ours[rows]) - roc_auc_score(LABELS[rows], theirs[rows]))
    assert difference_interval(LABELS, ours, theirs) == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.01)


def test_pairing_narrows_the_interval_of_two_like_models() -> None:
    p_fake = scores(0.3, 7).p_fake
    low, high = difference_interval(LABELS, p_fake, p_fake)
    assert (low, high) == (0.0, 0.0)
    assert difference_interval(LABELS, p_fake, scores(0.3, 8).p_fake) == difference_interval(
        LABELS, p_fake, scores(0.3, 8).p_fake
    )
