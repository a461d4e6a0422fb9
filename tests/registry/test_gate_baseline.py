"""The gate decides on a grid of cases as it did in version 0.1: gate_baseline.json holds those decisions.

A case names the inputs of both models; `findings` are the codes in order, with ! before one that failed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepfake_detector.config import Register
from deepfake_detector.evaluation.prediction_table import PredictionTable, slice_masks
from deepfake_detector.registry.gate import Decision, decide
from deepfake_detector.registry.model_facts import EvaluatedModel, ModelFacts

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("gate_baseline.json").read_text(encoding="utf-8"))
RULES = {
    "experiment": "e", "model_name": "m", "min_accuracy": 0.6, "max_ece": 0.1, "min_robust_accuracy": 0.5,
    "max_size_mib": 10.0, "max_latency_ms": 50.0, "same_contract": True, "max_auc_loss": 0.01,
    "max_accuracy_loss": 0.02, "max_slice_loss": 0.05, "min_slice_images": 20,
    "min_left_out_auc": 0.0, "max_left_out_auc_loss": 0.02, "max_coverage_loss": 0.1,
}  # fmt: skip
FACTS: dict[str, Any] = {
    "trained_on": "photographs", "contract": {"format_version": 2, "side_px": 128, "kinds": ["synthetic"]},
    "accuracy": 0.9, "ece": 0.05, "robust_accuracy": 0.7, "size_mib": 2.0, "latency_ms": 5.0, "failed_checks": [],
}  # fmt: skip


def predictions(inputs: dict[str, Any]) -> PredictionTable:
    images = inputs.get("images", 200)
    labels = np.tile([0, 1], images // 2).astype(np.int64)
    if inputs.get("one_class"):
        labels[:] = 1
    noise = np.random.default_rng(inputs["seed"]).normal(0, inputs["noise"], images)
    p_fake = np.clip(np.clip(0.3 + 0.4 * labels + noise, 0, 1) - inputs.get("lower", 0.0), 0, 1)
    wrong = inputs.get("wrong", 0)
    p_fake[:wrong] = 1 - p_fake[:wrong]
    columns = {
        "source": ["b" if i < images // 4 else "a" for i in range(images)],
        "face size": [("small", "medium", "large")[i * 3 // images] for i in range(images)],
    }
    paths = tuple(f"faces/{i:03d}.jpg" for i in range(images))
    table = PredictionTable(paths, labels, p_fake, 0.5, inputs.get("digest", "t"), slice_masks(columns))
    return table.select(paths[: inputs.get("scored", images)])


def model(bundle: str, inputs: dict[str, Any], changed: dict[str, Any]) -> EvaluatedModel:
    facts = FACTS | changed
    checks = facts.pop("failed_checks")
    failed_checks = None if checks is None else tuple(checks)
    known = ModelFacts(bundle_sha256=inputs.get("bundle", bundle), failed_checks=failed_checks, **facts)
    return EvaluatedModel(known, predictions(inputs))


def decide_case(case: dict[str, Any]) -> Decision:
    candidate = model("new", case["candidate"], case.get("facts", {}))
    champion = model("old", case["champion"], case.get("champion_facts", {})) if "champion" in case else None
    return decide(candidate, champion, Register(**{**RULES, **case.get("rules", {})}))


def figures(decision: Decision) -> dict[str, float]:
    """The numbers under the names that they had in version 0.1."""
    found = {finding.code: finding.numbers for finding in decision.findings}
    named = {"accuracy": found["accuracy"]["value"]} if found.get("accuracy") else {}
    for code in {"auc", "accuracy_at_flag"} & found.keys():
        named |= {code: found[code]["candidate"], f"{code}_champion": found[code]["champion"]}
        named |= {f"{code}_{end}": found[code][end] for end in ("low", "high")}
    return named


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_decision_is_that_of_version_0_1(number: int) -> None:
    case = CASES[number]
    decision = decide_case(case)
    assert decision.promoted is case["promoted"]
    codes = [finding.code if finding.passed else f"!{finding.code}" for finding in decision.findings]
    assert codes == case["findings"].split()
    assert figures(decision) == pytest.approx(case["figures"], rel=1e-12)
