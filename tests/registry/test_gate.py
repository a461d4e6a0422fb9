"""The gate: who becomes champion, why, and whether its words and numbers agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deepfake_detector.config import Register
from deepfake_detector.evaluation.prediction_table import Scores, slices_of
from deepfake_detector.registry.gate import Decision, Facts, Judged, decide
from deepfake_detector.stats import area_under_roc

RULES = Register(
    experiment="e", model_name="m", min_accuracy=0.6, max_ece=0.1, min_robust_accuracy=0.5, max_size_mib=10.0,
    max_latency_ms=50.0, same_contract=True, max_auc_loss=0.01, max_accuracy_loss=0.02, max_slice_loss=0.05,
    min_slice_images=20,
)  # fmt: skip
IMAGES = 400
LABELS = np.tile([0, 1], IMAGES // 2).astype(np.int64)
PATHS = tuple(f"faces/{i:03d}.jpg" for i in range(IMAGES))
CONTRACT = {"format_version": 2, "side_px": 128, "kinds": ["synthetic"]}


def noisy(noise: float, seed: int) -> np.ndarray:
    return np.clip(0.3 + 0.4 * LABELS + np.random.default_rng(seed).normal(0, noise, IMAGES), 0, 1)


def judged(bundle: str, p_fake: np.ndarray, slices: Any = None, digest: str = "t", **facts: Any) -> Judged:
    known = Facts(
        bundle_sha256=bundle, trained_on="photographs", contract=CONTRACT, accuracy=0.9, ece=0.05, robust_accuracy=0.7,
        size_mib=2.0, latency_ms=5.0, failed_checks=(),
    )  # fmt: skip
    scores = Scores(PATHS, LABELS, p_fake, 0.5, digest, slices_of(slices or {}))
    return Judged(replace(known, **facts), scores)


def refusals(decision: Decision) -> list[str]:
    return [reason for reason in decision.reasons if reason.startswith("refused: ")]


def test_first_candidate_becomes_champion() -> None:
    decision = decide(judged("new", noisy(0.2, 0)), None, RULES)
    assert decision.promote
    assert decision.reasons[-1] == "there was no champion"


def test_a_coin_never_becomes_champion_even_without_a_rival() -> None:
    decision = decide(judged("new", noisy(0.2, 0), accuracy=0.59), None, RULES)
    assert not decision.promote
    assert refusals(decision) == ["refused: accuracy 0.5900, at least 0.6 asked for (register.min_accuracy)"]


def test_the_champion_itself_is_left_alone() -> None:
    decision = decide(judged("same", noisy(0.2, 1)), judged("same", noisy(0.2, 1)), RULES)
    assert (decision.promote, decision.reasons) == (False, ("the candidate is the champion already",))


def test_better_candidate_wins_and_says_by_how_much() -> None:
    decision = decide(judged("new", noisy(0.15, 1)), judged("old", noisy(0.4, 2)), RULES)
    assert decision.promote
    found = decision.figures
    assert found["auc"] > found["auc_champion"]
    assert found["auc_low"] > 0
    words = next(reason for reason in decision.reasons if reason.startswith("AUC"))
    assert f"{found['auc']:.4f} against the champion's {found['auc_champion']:.4f} on the same 400" in words
    assert f"interval {found['auc_low']:+.4f} to {found['auc_high']:+.4f}: better" in words


def test_worse_candidate_is_refused_with_the_interval() -> None:
    decision = decide(judged("new", noisy(0.4, 1)), judged("old", noisy(0.15, 2)), RULES)
    assert not decision.promote
    assert decision.figures["auc_high"] < 0
    assert any(reason.startswith("refused: AUC") and "95 % interval" in reason for reason in decision.reasons)


def test_an_equal_one_is_let_through_as_no_worse() -> None:
    decision = decide(judged("new", noisy(0.2, 1)), judged("old", noisy(0.2, 1)), RULES)
    assert decision.promote
    assert any("no worse than the loss of 0.01" in reason for reason in decision.reasons)


def test_a_small_loss_passes_only_when_the_interval_shows_that_it_is_small() -> None:
    champion = noisy(0.2, 3)
    worse = np.where((LABELS == 0) & (np.arange(IMAGES) < 10), 0.99, champion)  # five reals called fake
    fallen = area_under_roc(LABELS, champion) - area_under_roc(LABELS, worse)
    decision = decide(judged("new", worse), judged("old", champion), RULES)
    lowest = -decision.figures["auc_low"]
    assert 0 < fallen < lowest
    free = {"max_accuracy_loss": 1.0}
    within, above = (Register(**{**vars(RULES), **free, "max_auc_loss": lowest + gap}) for gap in (1e-6, -1e-3))
    assert decide(judged("new", worse), judged("old", champion), within).promote
    refused = decide(judged("new", worse), judged("old", champion), above)
    assert "not shown to be within the loss" in refusals(refused)[0]


def test_a_small_gain_passes_however_wide_the_interval() -> None:
    ours, theirs = noisy(0.3, 11), noisy(0.3, 12)
    if area_under_roc(LABELS, ours) < area_under_roc(LABELS, theirs):
        ours, theirs = theirs, ours
    decision = decide(judged("new", ours), judged("old", theirs), Register(**{**vars(RULES), "max_auc_loss": 0.0}))
    assert decision.figures["auc_low"] < 0 < decision.figures["auc_high"]
    assert any("likelier better than worse" in reason for reason in decision.reasons)


def test_accuracy_at_flag_vetoes_a_better_ranking() -> None:
    better = noisy(0.15, 1)
    late = np.clip(better - 0.25, 0, 1)  # ranks as well as before, but half of the fakes are below `flag` now
    decision = decide(judged("new", late), judged("old", noisy(0.25, 2)), RULES)
    assert decision.figures["auc_low"] > 0
    assert decision.figures["accuracy_at_flag_high"] < 0
    assert [r.split(" 0.")[0] for r in refusals(decision)] == ["refused: accuracy at `flag`"]


def better_but_for(loss: int) -> tuple[np.ndarray, np.ndarray, dict[str, list[str]]]:
    """A candidate that is better nearly everywhere, and calls `loss` of 60 pictures of source b wrongly."""
    champion = noisy(0.25, 2)
    candidate = np.where(LABELS == 1, 0.9, 0.1) + noisy(0.05, 3) / 100
    sources = ["b" if i < 60 else "a" for i in range(IMAGES)]
    champion[:60] = np.where(LABELS[:60] == 1, 0.8, 0.2)
    candidate[:loss] = 1 - candidate[:loss]
    return candidate, champion, {"source": sources}


def test_better_but_one_slice_worse_is_refused_and_the_slice_named() -> None:
    candidate, champion, slices = better_but_for(20)
    decision = decide(judged("new", candidate, slices), judged("old", champion, slices), RULES)
    assert decision.figures["auc"] > 0
    assert any("accuracy at `flag`" in r and not r.startswith("refused") for r in decision.reasons)
    refused = [r for r in refusals(decision) if r.startswith("refused: source: b (60 pictures), accuracy at `flag`")]
    assert len(refused) == 1
    assert "a loss above the 0.05 that is accepted (register.max_slice_loss)" in refused[0]


def test_a_loss_in_a_slice_that_may_be_an_accident_refuses_nobody() -> None:
    candidate, champion, slices = better_but_for(4)  # 6.7 points of 60 pictures: above the margin, but four pictures
    decision = decide(judged("new", candidate, slices), judged("old", champion, slices), RULES)
    assert decision.promote, decision.reasons
    assert any(reason.startswith("no slice worse: 2 compared, by source") for reason in decision.reasons)


def test_slices_too_small_or_of_everything_are_not_asked() -> None:
    candidate, champion, _ = better_but_for(10)
    few = {"source": ["b" if i < 10 else "a" for i in range(IMAGES)], "compression": ["JPEG 90"] * IMAGES}
    decision = decide(judged("new", candidate, few), judged("old", champion, few), RULES)
    assert any("1 compared, by compression, source" in reason for reason in decision.reasons)


def test_the_more_slices_the_more_it_takes() -> None:
    """Twenty slices of noise: at 95 % each, one of them would refuse an equal model nearly every other time."""
    refused = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        kinds = {f"kind {k}": [str(v) for v in random.integers(0, 4, IMAGES)] for k in range(5)}
        ours, theirs = noisy(0.25, 100 + seed), noisy(0.25, 200 + seed)
        decision = decide(judged("new", ours, kinds), judged("old", theirs, kinds), RULES)
        refused += any("pictures)" in reason for reason in refusals(decision))
    assert refused <= 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"side_px": 160}, "side_px 128 -> 160"),
        ({"format_version": 3}, "format_version 2 -> 3"),
        ({"kinds": ["swap"]}, "kinds ['synthetic'] -> ['swap']"),
    ],
)
def test_another_contract_is_refused_unless_it_may_change(changed: dict[str, Any], words: str) -> None:
    new, old = judged("new", noisy(0.1, 1), contract=CONTRACT | changed), judged("old", noisy(0.3, 2))
    assert [r for r in refusals(decide(new, old, RULES)) if words in r]
    assert decide(new, old, Register(**{**vars(RULES), "same_contract": False})).promote


def test_a_model_that_tells_more_kinds_apart_keeps_the_contract() -> None:
    new = judged("new", noisy(0.1, 1), contract=CONTRACT | {"kinds": ["synthetic", "swap"]})
    assert decide(new, judged("old", noisy(0.3, 2)), RULES).promote


def test_drawings_never_replace_photographs_but_the_other_way_round_is_a_comparison() -> None:
    drawn = judged("new", noisy(0.1, 1), trained_on="drawn sample")
    assert refusals(decide(drawn, judged("old", noisy(0.3, 2)), RULES)) == [
        "refused: trained on the drawn sample; the champion is trained on photographs"
    ]
    drawn = judged("old", noisy(0.3, 2), trained_on="drawn sample")
    assert decide(judged("new", noisy(0.1, 1)), drawn, RULES).promote


def test_other_test_pictures_are_never_compared() -> None:
    decision = decide(
        judged("new", noisy(0.1, 1), digest="n" * 64), judged("old", noisy(0.3, 2), digest="o" * 64), RULES
    )
    assert not decision.promote
    assert "judged on other test pictures (nnnnnnnnnnnn) than the champion (oooooooooooo)" in refusals(decision)[0]
    assert "auc" not in decision.figures


def test_pictures_that_only_one_of_them_judged_do_not_count() -> None:
    champion = judged("old", noisy(0.3, 2))
    champion = Judged(champion.facts, champion.scores.only(PATHS[:300]))
    decision = decide(judged("new", noisy(0.1, 1)), champion, RULES)
    assert any("on the same 300 test pictures" in reason for reason in decision.reasons)


def test_every_reason_is_told_not_only_the_first() -> None:
    new = judged("new", noisy(0.4, 1), accuracy=0.5, ece=0.2, failed_checks=("copies",))
    assert len(refusals(decide(new, judged("old", noisy(0.1, 2)), RULES))) >= 4
