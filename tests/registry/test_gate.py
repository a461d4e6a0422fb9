"""Decisions of the gate: floors, comparison with the champion, and the numbers and texts of its findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.config import Register
from deepfake_detector.evaluation.prediction_table import PredictionTable, slice_masks
from deepfake_detector.registry.gate import Decision, Finding, check_floors, decide
from deepfake_detector.registry.model_facts import EvaluatedModel, ModelFacts
from deepfake_detector.stats import auc

RULES = Register(
    experiment="e", model_name="m", min_accuracy=0.6, max_ece=0.1, min_robust_accuracy=0.5, max_size_mib=10.0,
    max_latency_ms=50.0, same_contract=True, max_auc_loss=0.01, max_accuracy_loss=0.02, max_slice_loss=0.05,
    min_slice_images=20, min_left_out_auc=0.0, max_left_out_auc_loss=0.02, max_coverage_loss=0.1,
)  # fmt: skip
IMAGES = 400
LABELS = np.tile([0, 1], IMAGES // 2).astype(np.int64)
PATHS = tuple(f"faces/{i:03d}.jpg" for i in range(IMAGES))
CONTRACT = {"format_version": 2, "side_px": 128, "kinds": ["synthetic"]}
FACTS = ModelFacts(
    bundle_sha256="new", trained_on="photographs", contract=CONTRACT, accuracy=0.9, ece=0.05, robust_accuracy=0.7,
    size_mib=2.0, latency_ms=5.0, failed_checks=(),
)  # fmt: skip
AT_THE_LIMITS = replace(FACTS, accuracy=0.6, ece=0.1, robust_accuracy=0.5, size_mib=10.0, latency_ms=50.0)
Floats = NDArray[np.float64]
Columns = Mapping[str, Sequence[str]]


def noisy(noise: float, seed: int) -> Floats:
    return np.clip(0.3 + 0.4 * LABELS + np.random.default_rng(seed).normal(0, noise, IMAGES), 0, 1)


def model(
    bundle: str, p_fake: Floats, columns: Columns | None = None, digest: str = "t", **facts: Any
) -> EvaluatedModel:
    scores = PredictionTable(PATHS, LABELS, p_fake, 0.5, digest, slice_masks(columns or {}))
    return EvaluatedModel(replace(FACTS, bundle_sha256=bundle, **facts), scores)


def rules(**changed: Any) -> Register:
    return Register(**{**vars(RULES), **changed})


def failed(decision: Decision) -> list[Finding]:
    return [finding for finding in decision.findings if not finding.passed]


def failed_codes(decision: Decision) -> list[str]:
    return [finding.code for finding in failed(decision)]


def finding(decision: Decision, code: str) -> Finding:
    (found,) = [each for each in decision.findings if each.code == code]
    return found


def failed_floors(**changed: Any) -> list[Finding]:
    return [finding for finding in check_floors(replace(AT_THE_LIMITS, **changed), RULES) if not finding.passed]


def test_a_candidate_exactly_at_every_floor_passes() -> None:
    assert failed_floors() == []


@pytest.mark.parametrize(
    ("changed", "code", "text", "numbers"),
    [
        (
            {"accuracy": 0.5999},
            "accuracy",
            "accuracy 0.5999, at least 0.6 required (register.min_accuracy)",
            {"value": 0.5999, "min": 0.6},
        ),
        (
            {"ece": 0.1001},
            "calibration_error",
            "calibration error 0.1001, at most 0.1 allowed (register.max_ece)",
            {"value": 0.1001, "max": 0.1},
        ),
        (
            {"robust_accuracy": 0.4},
            "robust_accuracy",
            "mean accuracy over the corruption grid 0.4000, at least 0.5 required (register.min_robust_accuracy)",
            {"value": 0.4, "min": 0.5},
        ),
        (
            {"size_mib": 10.2},
            "size",
            "bundle size in MiB 10.2, at most 10 allowed (register.max_size_mib)",
            {"value": 10.2, "max": 10.0},
        ),
        (
            {"latency_ms": 51.0},
            "latency",
            "milliseconds of processor time per crop 51.0, at most 50 allowed (register.max_latency_ms)",
            {"value": 51.0, "max": 50.0},
        ),
        (
            {"failed_checks": ("copies", "border")},
            "data_checks",
            "its data failed 2 checks: copies, border",
            {"failed": 2.0},
        ),
        (
            {"quick_evaluation": True},
            "quick_evaluation",
            "evaluated on small samples (evaluate.quick); evaluate it again with `-S evaluate.quick=false`",
            {},
        ),
        ({"engine_error": "no graph"}, "engine", "the serving engine cannot run the bundle: no graph", {}),
    ],
)
def test_each_floor_refuses_by_itself(changed: dict[str, Any], code: str, text: str, numbers: dict[str, float]) -> None:
    assert failed_floors(**changed) == [Finding(code, False, text, numbers)]
    assert str(failed_floors(**changed)[0]) == f"refused: {text}"


def test_values_that_were_not_measured_refuse_nothing_and_are_named() -> None:
    unknown: dict[str, Any] = dict.fromkeys(("accuracy", "ece", "robust_accuracy", "latency_ms", "failed_checks"))
    assert failed_floors(**unknown) == []
    findings = check_floors(replace(AT_THE_LIMITS, **unknown), RULES)
    texts = "\n".join(finding.text for finding in findings)
    for setting in ("min_accuracy", "max_ece", "min_robust_accuracy", "max_latency_ms"):
        assert f"not measured, so register.{setting} was not checked" in texts
    assert "data checks were not evaluated" in texts
    assert {finding.code for finding in findings if finding.numbers} == {"size"}


def test_the_first_candidate_becomes_champion() -> None:
    decision = decide(model("new", noisy(0.2, 0)), None, RULES)
    assert decision.promoted
    assert decision.findings[-1] == Finding("no_champion", True, "there was no champion")


def test_a_candidate_below_a_floor_is_refused_without_a_champion() -> None:
    decision = decide(model("new", noisy(0.2, 0), accuracy=0.59), None, RULES)
    assert not decision.promoted
    assert failed_codes(decision) == ["accuracy"]


def test_the_champion_is_not_compared_with_itself() -> None:
    decision = decide(model("same", noisy(0.2, 1)), model("same", noisy(0.2, 1)), RULES)
    assert not decision.promoted
    assert [finding.code for finding in decision.findings] == ["already_champion"]


def test_a_better_candidate_is_promoted_and_the_text_quotes_the_numbers() -> None:
    decision = decide(model("new", noisy(0.15, 1)), model("old", noisy(0.4, 2)), RULES)
    assert decision.promoted
    found = finding(decision, "auc")
    numbers = found.numbers
    assert numbers["candidate"] > numbers["champion"]
    assert numbers["difference"] == pytest.approx(numbers["candidate"] - numbers["champion"])
    assert numbers["low"] > 0
    assert f"{numbers['candidate']:.4f} against the champion's {numbers['champion']:.4f} on the same 400" in found.text
    assert f"interval {numbers['low']:+.4f} to {numbers['high']:+.4f}: better" in found.text


def test_a_worse_candidate_is_refused_with_the_interval() -> None:
    decision = decide(model("new", noisy(0.4, 1)), model("old", noisy(0.15, 2)), RULES)
    assert not decision.promoted
    found = finding(decision, "auc")
    assert not found.passed
    assert found.numbers["high"] < 0
    assert "95 % interval" in found.text


def test_an_equal_candidate_passes_as_no_worse() -> None:
    decision = decide(model("new", noisy(0.2, 1)), model("old", noisy(0.2, 1)), RULES)
    assert decision.promoted
    assert "no worse than the accepted loss of 0.01" in finding(decision, "auc").text


def test_a_small_loss_passes_only_if_the_interval_shows_that_it_is_small() -> None:
    champion = noisy(0.2, 3)
    worse = np.where((LABELS == 0) & (np.arange(IMAGES) < 10), 0.99, champion)  # five reals called fake
    loss = auc(champion, LABELS) - auc(worse, LABELS)
    decision = decide(model("new", worse), model("old", champion), RULES)
    lowest = -finding(decision, "auc").numbers["low"]
    assert 0 < loss < lowest
    within, above = (rules(max_accuracy_loss=1.0, max_auc_loss=lowest + gap) for gap in (1e-6, -1e-3))
    assert decide(model("new", worse), model("old", champion), within).promoted
    refused = decide(model("new", worse), model("old", champion), above)
    assert "not shown to be within the accepted loss" in failed(refused)[0].text


def test_a_small_gain_passes_however_wide_the_interval() -> None:
    ours, theirs = noisy(0.3, 11), noisy(0.3, 12)
    if auc(ours, LABELS) < auc(theirs, LABELS):
        ours, theirs = theirs, ours
    decision = decide(model("new", ours), model("old", theirs), rules(max_auc_loss=0.0))
    found = finding(decision, "auc")
    assert found.numbers["low"] < 0 < found.numbers["high"]
    assert found.passed
    assert "more likely better than worse" in found.text


def test_a_loss_of_accuracy_at_flag_refuses_a_better_ranking() -> None:
    better = noisy(0.15, 1)
    lowered = np.clip(better - 0.25, 0, 1)  # the same order, but half of the fakes are below `flag` now
    decision = decide(model("new", lowered), model("old", noisy(0.25, 2)), RULES)
    assert finding(decision, "auc").numbers["low"] > 0
    assert finding(decision, "accuracy_at_flag").numbers["high"] < 0
    assert failed_codes(decision) == ["accuracy_at_flag"]


def better_except_for(errors: int) -> tuple[Floats, Floats, Columns]:
    """A candidate that is better nearly everywhere, but wrong about `errors` of the 60 pictures of source b."""
    champion = noisy(0.25, 2)
    candidate = np.where(LABELS == 1, 0.9, 0.1) + noisy(0.05, 3) / 100
    sources = ["b" if i < 60 else "a" for i in range(IMAGES)]
    champion[:60] = np.where(LABELS[:60] == 1, 0.8, 0.2)
    candidate[:errors] = 1 - candidate[:errors]
    return candidate, champion, {"source": sources}


def test_a_worse_slice_refuses_a_better_candidate_and_is_named() -> None:
    candidate, champion, columns = better_except_for(20)
    decision = decide(model("new", candidate, columns), model("old", champion, columns), RULES)
    assert finding(decision, "auc").numbers["candidate"] > 0
    assert finding(decision, "accuracy_at_flag").passed
    worse = finding(decision, "slice_accuracy")
    assert not worse.passed
    assert worse.text.startswith("source: b (60 pictures), accuracy at `flag`")
    assert "a loss above the accepted 0.05 (register.max_slice_loss)" in worse.text
    assert worse.numbers["pictures"] == 60


def test_a_loss_in_a_slice_that_chance_explains_refuses_nothing() -> None:
    candidate, champion, columns = better_except_for(4)  # a loss of 6.7 points, but only four of 60 pictures
    decision = decide(model("new", candidate, columns), model("old", champion, columns), RULES)
    assert decision.promoted, decision.findings
    found = finding(decision, "slice_accuracy")
    assert found.text.startswith("no slice is worse: 2 compared, by source")
    assert found.numbers == {"compared": 2.0}


def test_slices_that_are_too_small_or_hold_everything_are_not_compared() -> None:
    candidate, champion, _ = better_except_for(10)
    columns = {"source": ["b" if i < 10 else "a" for i in range(IMAGES)], "compression": ["JPEG 90"] * IMAGES}
    decision = decide(model("new", candidate, columns), model("old", champion, columns), RULES)
    assert "1 compared, by compression, source" in finding(decision, "slice_accuracy").text


def test_intervals_widen_with_the_number_of_slices() -> None:
    """Twenty slices of noise: at 95 % each, one of them would refuse an equal model nearly every other time."""
    refused = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        columns = {f"kind {k}": [str(v) for v in random.integers(0, 4, IMAGES)] for k in range(5)}
        ours, theirs = noisy(0.25, 100 + seed), noisy(0.25, 200 + seed)
        decision = decide(model("new", ours, columns), model("old", theirs, columns), RULES)
        refused += "slice_accuracy" in failed_codes(decision)
    assert refused <= 2


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"side_px": 160}, "side_px 128 -> 160"),
        ({"format_version": 3}, "format_version 2 -> 3"),
        ({"kinds": ["swap"]}, "kinds ['synthetic'] -> ['swap']"),
    ],
)
def test_another_contract_is_refused_unless_the_rules_allow_it(changed: dict[str, Any], text: str) -> None:
    new, old = model("new", noisy(0.1, 1), contract=CONTRACT | changed), model("old", noisy(0.3, 2))
    assert text in finding(decide(new, old, RULES), "contract").text
    assert failed_codes(decide(new, old, RULES)) == ["contract"]
    assert decide(new, old, rules(same_contract=False)).promoted


def test_more_kinds_of_fakes_keep_the_contract() -> None:
    new = model("new", noisy(0.1, 1), contract=CONTRACT | {"kinds": ["synthetic", "swap"]})
    assert decide(new, model("old", noisy(0.3, 2)), RULES).promoted


def test_a_bundle_with_a_profile_keeps_the_contract_of_one_without() -> None:
    """Format 4 is format 3 with one more file."""
    newer, older = CONTRACT | {"format_version": 4}, CONTRACT | {"format_version": 3}
    new, old = model("new", noisy(0.1, 1), contract=newer), model("old", noisy(0.3, 2), contract=older)
    assert decide(new, old, RULES).promoted
    back = decide(model("new", noisy(0.1, 1), contract=older), model("old", noisy(0.3, 2), contract=newer), RULES)
    assert failed_codes(back) == ["contract"]


def test_a_model_of_drawings_never_replaces_one_of_photographs() -> None:
    drawn = model("new", noisy(0.1, 1), trained_on="drawn sample")
    (refused,) = failed(decide(drawn, model("old", noisy(0.3, 2)), RULES))
    assert refused.code == "training_data"
    assert refused.text == "trained on the drawn sample; the champion is trained on photographs"
    drawn = model("old", noisy(0.3, 2), trained_on="drawn sample")
    assert decide(model("new", noisy(0.1, 1)), drawn, RULES).promoted


def test_models_evaluated_on_other_test_pictures_are_not_compared() -> None:
    new, old = model("new", noisy(0.1, 1), digest="n" * 64), model("old", noisy(0.3, 2), digest="o" * 64)
    decision = decide(new, old, RULES)
    assert not decision.promoted
    (refused,) = failed(decision)
    assert refused.code == "test_pictures"
    assert "evaluated on other test pictures (nnnnnnnnnnnn) than the champion (oooooooooooo)" in refused.text
    assert "auc" not in [finding.code for finding in decision.findings]


def test_only_pictures_that_both_scored_are_compared() -> None:
    champion = model("old", noisy(0.3, 2))
    champion = EvaluatedModel(champion.facts, champion.scores.select(PATHS[:300]))
    decision = decide(model("new", noisy(0.1, 1)), champion, RULES)
    assert "on the same 300 test pictures" in finding(decision, "auc").text
    assert finding(decision, "auc").numbers["pictures"] == 300


def test_all_failed_checks_are_reported_together() -> None:
    new = model("new", noisy(0.4, 1), accuracy=0.5, ece=0.2, failed_checks=("copies",))
    decision = decide(new, model("old", noisy(0.1, 2)), RULES)
    assert failed_codes(decision)[:4] == ["accuracy", "calibration_error", "data_checks", "auc"]
