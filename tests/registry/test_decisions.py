"""Decisions as tags: read as they were written, also those of older stores, and summarized by their codes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deepfake_detector.errors import PromotionRefused
from deepfake_detector.registry.decisions import (
    DECISION_TAG,
    StoredDecision,
    current_decision,
    is_settled,
    parse_decision,
    read_decision,
    reusable_decision,
    rules_text,
)
from deepfake_detector.registry.gate import Finding
from deepfake_detector.registry.model_registry import ModelVersion, RegistrySnapshot, read_registry
from deepfake_detector.registry.promotion import promote
from deepfake_detector.tracking.store import open_client
from tests.pipeline_checkout import RULES, PipelineCheckout, StubRescorer

ACCURACY = Finding("accuracy", True, "accuracy 0.9000", {"value": 0.9, "min": 0.6})
WORSE_AUC = Finding("auc", False, "AUC 0.7847 against the champion's 0.9657", {"low": -0.2, "high": -0.1})
BETTER_AUC = Finding("auc", True, "AUC 0.9983 against the champion's 0.8056", {"low": 0.1, "high": 0.2})
SLICES = Finding("slice_accuracy", True, "no slice is worse", {"compared": 0.0})
RESCORED = Finding("rescoring", True, "the champion was scored again")
BASIS = {"against": "old", "rules": "min_accuracy=0.6"}
# Tags as version 0.1 wrote them: findings are text only, with `refused: ` before one that failed.
OLD_REFUSED: dict[str, Any] = {
    "promoted": False,
    "reasons": [
        "accuracy 0.9000, at least 0.6 asked for (register.min_accuracy)",
        "refused: AUC 0.7847 against the champion's 0.9657 on the same 200 test pictures",
        "refused: accuracy at `flag` 0.7200 against 0.9150",
        "the champion was judged on other test pictures, and was scored anew on these",
    ],
    "figures": {"auc": 0.7847, "auc_champion": 0.9657},
    "done": True,
} | BASIS
OLD_PROMOTED: dict[str, Any] = {
    "promoted": True,
    "reasons": [
        "accuracy 0.9000, at least 0.6 asked for (register.min_accuracy)",
        "AUC 0.9983 against the champion's 0.8056 on the same 200 test pictures: better",
        "no slice worse: 0 compared, by source (register.max_slice_loss)",
    ],
    "figures": {"auc": 0.9983, "auc_champion": 0.8056},
    "done": False,
} | BASIS
OLD_FIRST: dict[str, Any] = {
    "promoted": True,
    "reasons": ["accuracy 0.9000, at least 0.6 asked for (register.min_accuracy)", "there was no champion"],
    "figures": {"accuracy": 0.9},
    "done": True,
} | BASIS


def stored(promoted: bool, *findings: Finding, **changed: Any) -> StoredDecision:
    return StoredDecision(promoted, findings, **(BASIS | changed))


def test_a_decision_is_read_back_with_codes_and_numbers() -> None:
    decision = stored(False, ACCURACY, WORSE_AUC, RESCORED, done=True)
    assert parse_decision(decision.to_json()) == decision
    tag = json.loads(decision.to_json())
    assert tag["findings"][1] == {
        "code": "auc",
        "passed": False,
        "text": WORSE_AUC.text,
        "numbers": {"low": -0.2, "high": -0.1},
    }


def test_older_versions_of_the_program_can_read_the_tag() -> None:
    tag = json.loads(stored(False, ACCURACY, WORSE_AUC).to_json())
    assert tag["reasons"] == [ACCURACY.text, f"refused: {WORSE_AUC.text}"]
    assert {"promoted", "reasons", "against", "rules", "done"} <= tag.keys()


@pytest.mark.parametrize("tag", [OLD_REFUSED, OLD_PROMOTED, OLD_FIRST])
def test_a_decision_of_an_older_store_keeps_its_texts(tag: dict[str, Any]) -> None:
    decision = parse_decision(json.dumps(tag))
    assert decision.reasons == tag["reasons"]
    assert (decision.promoted, decision.done) == (tag["promoted"], tag["done"])
    assert (decision.against, decision.rules) == ("old", "min_accuracy=0.6")
    passed = [not reason.startswith("refused: ") for reason in tag["reasons"]]
    assert [finding.passed for finding in decision.findings] == passed
    assert parse_decision(decision.to_json()) == decision  # what the next write of the tag makes of it


@pytest.mark.parametrize(
    ("tag", "summary"),
    [
        (OLD_REFUSED, "; ".join(OLD_REFUSED["reasons"][1:3])),
        (OLD_PROMOTED, OLD_PROMOTED["reasons"][1]),
        (OLD_FIRST, "there was no champion"),
        (OLD_FIRST | {"promoted": False, "reasons": ["the candidate is the champion already"]},
         "the candidate is the champion already"),
    ],
)  # fmt: skip
def test_the_summary_of_a_decision_of_an_older_store(tag: dict[str, Any], summary: str) -> None:
    assert parse_decision(json.dumps(tag)).summary == summary


@pytest.mark.parametrize(
    ("decision", "summary"),
    [
        (stored(False, ACCURACY, WORSE_AUC, RESCORED), f"refused: {WORSE_AUC.text}"),
        (stored(True, ACCURACY, BETTER_AUC, SLICES), BETTER_AUC.text),
        (stored(True, ACCURACY, Finding("no_champion", True, "there was no champion")), "there was no champion"),
        (stored(False, Finding("auc", False, "no such prefix"), SLICES), "refused: no such prefix"),
        (stored(True, Finding("auc", True, "no such prefix"), SLICES), "no such prefix"),
    ],
)
def test_the_summary_depends_on_codes_and_not_on_texts(decision: StoredDecision, summary: str) -> None:
    assert decision.summary == summary


def test_a_version_without_a_decision() -> None:
    assert read_decision(None) is None
    assert read_decision(ModelVersion("1", "r", {})) is None


def test_a_stored_decision_applies_to_the_same_champion_and_rules_only() -> None:
    decision = StoredDecision(False, (WORSE_AUC,), "old", rules_text(RULES))
    versions = (
        ModelVersion("1", "r", {"bundle_sha256": "old"}),
        ModelVersion("2", "r", {"bundle_sha256": "new", "decision": decision.to_json()}),
        ModelVersion("3", "r", {"bundle_sha256": "other"}),
    )
    for champion, applies in (("1", True), ("3", False)):
        snapshot = RegistrySnapshot(versions, {"champion": champion})
        assert (current_decision(snapshot, versions[1], RULES) == decision) is applies
        assert (reusable_decision(snapshot, versions[1], RULES) == decision) is applies
    assert current_decision(RegistrySnapshot(versions, {"champion": "1"}), versions[0], RULES) is None


def test_a_decision_of_an_older_store_is_not_made_again(checkout: PipelineCheckout) -> None:
    checkout.register(checkout.candidate(0.1, 1))
    refused = checkout.candidate(0.4, 2)
    version = checkout.register(refused).versions[1]
    tag = json.loads(version.tags[DECISION_TAG])
    reasons = ["accuracy 0.9000", "refused: AUC 0.7 against the champion's 0.9"]
    old = {key: tag[key] for key in ("promoted", "against", "rules", "done")} | {"reasons": reasons, "figures": {}}
    open_client().set_model_version_tag("tiny", "2", DECISION_TAG, json.dumps(old))
    assert is_settled(read_registry("tiny"), refused, checkout.rules)
    with pytest.raises(PromotionRefused, match=r"version 2: refused: AUC 0\.7 against"):
        promote("2", "because", False, checkout.rules, StubRescorer())
