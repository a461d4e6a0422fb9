"""The gate on coverage and on sources that were never trained on: limits of losses, and a floor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.evaluation.prediction_table import PredictionTable
from deepfake_detector.registry.gate import Decision, Finding, check_floors, decide
from deepfake_detector.registry.model_facts import EvaluatedModel, collect_facts, facts_from_tag
from tests.registry.test_gate import FACTS, RULES, rules

Floats = NDArray[np.float64]
# 300 pictures of a trained source; 200 fakes of a left-out one.
PATHS = tuple([f"faces/{i:03d}" for i in range(300)] + [f"portraits/{i:03d}" for i in range(200)])
LABELS = np.array([0, 1] * 150 + [1] * 200, np.int64)
TRAINED = np.array([path.startswith("faces") for path in PATHS])
LEFT_OUT = frozenset({"portraits"})


def scores(portraits: float, seed: int = 0, width: float = 0.1) -> Floats:
    """The trained source is separated well; the left-out fakes lie around `portraits`."""
    middle = np.where(TRAINED, np.where(LABELS == 1, 0.9, 0.1), portraits)
    return np.clip(middle + np.random.default_rng(seed).normal(0, width, len(PATHS)), 0, 1)


def model(bundle: str, p_fake: Floats, clear: float | None = 0.3, flag: float = 0.7, **facts: Any) -> EvaluatedModel:
    table = PredictionTable(PATHS, LABELS, p_fake, flag, "t", {}, clear, LEFT_OUT)
    return EvaluatedModel(replace(FACTS, bundle_sha256=bundle, **facts), table)


def finding(decision: Decision, code: str) -> Finding:
    (found,) = [each for each in decision.findings if each.code == code]
    return found


def test_a_model_that_loses_on_left_out_sources_is_refused() -> None:
    champion = model("old", scores(0.8))
    worse = decide(model("new", scores(0.15)), champion, RULES)
    assert not worse.promoted
    lost = finding(worse, "left_out_auc_loss")
    assert not lost.passed
    assert lost.numbers["candidate"] < lost.numbers["champion"] - 0.2
    assert "mean AUC on left-out sources (portraits)" in lost.text
    assert "register.max_left_out_auc_loss" in lost.text
    # Its answers about the trained source are as good: only what the left-out source shows refuses it.
    assert finding(worse, "auc").passed
    assert finding(worse, "accuracy_at_flag").passed
    assert finding(decide(model("new", scores(0.8, seed=1)), champion, RULES), "left_out_auc_loss").passed
    assert finding(decide(model("new", scores(0.15)), champion, rules(max_left_out_auc_loss=1.0)),
                   "left_out_auc_loss").passed  # fmt: skip


def test_left_out_pictures_do_not_count_for_the_other_comparisons() -> None:
    champion, candidate = model("old", scores(0.1)), model("new", scores(0.9))
    decision = decide(candidate, champion, RULES)
    assert finding(decision, "auc").numbers["pictures"] == 300
    assert finding(decision, "accuracy_at_flag").numbers["pictures"] == 300
    assert finding(decision, "coverage").numbers["pictures"] == 300
    assert finding(decision, "left_out_auc_loss").numbers["difference"] > 0.2


def test_a_model_that_abstains_more_is_refused() -> None:
    champion, p_fake = model("old", scores(0.8)), scores(0.8)
    abstains = decide(model("new", p_fake, clear=0.05, flag=0.95), champion, rules(max_accuracy_loss=1.0))
    assert not finding(abstains, "coverage").passed
    assert "register.max_coverage_loss" in finding(abstains, "coverage").text
    allowed = rules(max_accuracy_loss=1.0, max_coverage_loss=1.0)
    assert finding(decide(model("new", p_fake, clear=0.05, flag=0.95), champion, allowed), "coverage").passed


def test_a_model_that_gives_fewer_wrong_answers_is_not_refused_for_it() -> None:
    """The champion answers everything, a third of it wrongly; the candidate abstains there and is right elsewhere."""
    wrong = TRAINED & (np.arange(len(PATHS)) % 3 == 0)
    hasty = np.where(wrong, 1 - scores(0.8), scores(0.8))
    careful = np.where(wrong, 0.5, scores(0.8))
    decision = decide(model("new", careful), model("old", hasty), RULES)
    assert finding(decision, "coverage").passed
    assert finding(decision, "coverage").numbers["difference"] >= 0


def test_coverage_is_not_compared_without_both_thresholds() -> None:
    decision = decide(model("new", scores(0.8)), model("old", scores(0.8, seed=1), clear=None), RULES)
    assert "coverage" not in [each.code for each in decision.findings]


def test_without_left_out_sources_nothing_is_compared_on_them() -> None:
    candidate, champion = model("new", scores(0.1)), model("old", scores(0.9))
    new, old = (
        EvaluatedModel(each.facts, replace(each.scores, left_out=frozenset())) for each in (candidate, champion)
    )
    decision = decide(new, old, RULES)
    assert "left_out_auc_loss" not in [each.code for each in decision.findings]
    assert finding(decision, "auc").numbers["pictures"] == 500


@pytest.mark.parametrize(("value", "floor", "passed"), [(0.8, 0.85, False), (0.85, 0.85, True), (None, 0.85, True)])
def test_the_floor_on_left_out_sources(value: float | None, floor: float, passed: bool) -> None:
    findings = check_floors(replace(FACTS, left_out_auc=value), rules(min_left_out_auc=floor))
    (found,) = [each for each in findings if each.code == "left_out_auc"]
    assert found.passed is passed
    assert "register.min_left_out_auc" in found.text


def test_an_unmeasured_value_without_a_floor_is_not_mentioned() -> None:
    assert "left_out_auc" not in [each.code for each in check_floors(FACTS, RULES)]


def test_facts_come_from_the_report_and_older_tags_lack_them(tiny_bundle: Any) -> None:
    estimate = {"value": 0.8, "low": 0.7, "high": 0.9}
    report = {"left_out": {"auc": estimate}, "at_thresholds": {"coverage": estimate | {"value": 0.6}}}
    facts = collect_facts(tiny_bundle, report, None)
    assert (facts.left_out_auc, facts.coverage) == (0.8, 0.6)
    assert facts_from_tag(facts.to_json(), tiny_bundle) == facts
    older = facts.to_json().replace('"left_out_auc": 0.8, ', "").replace('"coverage": 0.6, ', "")
    assert older != facts.to_json()
    assert facts_from_tag(older, tiny_bundle).left_out_auc is None
