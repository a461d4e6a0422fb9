"""The gate on held-out feedback: it names both test sets, can refuse a candidate, and never lets one pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.evaluation.prediction_table import PredictionTable, read_predictions
from deepfake_detector.registry.gate import Decision, Finding, decide
from deepfake_detector.registry.model_facts import EvaluatedModel
from tests.registry.test_gate import FACTS, RULES, rules

Floats = NDArray[np.float64]
FEEDBACK = frozenset({"feedback_held_out"})


def model(bundle: str, old_right: float, new_right: float, pictures: int = 60) -> EvaluatedModel:
    """Answers of which so many are right: to 300 older test pictures, and to held-out feedback."""
    paths = [f"faces/{i:03d}" for i in range(300)] + [f"feedback_held_out/{i:03d}" for i in range(pictures)]
    labels = np.array([i % 2 for i in range(len(paths))], np.int64)
    right = np.array([i < 300 * old_right for i in range(300)] + [i < pictures * new_right for i in range(pictures)])
    p_fake = np.where(right == (labels == 1), 0.95, 0.05)
    slices = {"face size: small": np.arange(len(paths)) >= 290}
    table = PredictionTable(tuple(paths), labels, p_fake, 0.5, "t", slices, 0.3, FEEDBACK, FEEDBACK)
    return EvaluatedModel(replace(FACTS, bundle_sha256=bundle), table)


def finding(decision: Decision, code: str) -> Finding:
    (found,) = [each for each in decision.findings if each.code == code]
    return found


def test_both_test_sets_are_named_with_their_numbers() -> None:
    decision = decide(model("new", 0.95, 0.9), model("old", 0.95, 0.4), RULES)
    assert decision.promoted
    found = finding(decision, "feedback_accuracy")
    assert "0.9000 against 0.4000" in found.text
    assert "60 held-out feedback pictures (feedback_held_out)" in found.text
    assert "on the 300 other test pictures 0.9500 against 0.9500" in found.text
    assert (found.numbers["candidate"], found.numbers["old_champion"]) == (0.9, 0.95)


def test_a_loss_on_held_out_feedback_refuses_where_there_is_enough_of_it() -> None:
    worse, champion = model("new", 0.95, 0.4), model("old", 0.95, 0.9)
    assert not finding(decide(worse, champion, RULES), "feedback_accuracy").passed
    few = decide(worse, champion, rules(min_slice_images=61))
    assert finding(few, "feedback_accuracy").passed
    assert "too few to refuse a candidate" in finding(few, "feedback_accuracy").text


def test_feedback_counts_for_no_other_comparison() -> None:
    """Whoever fills the held-out slice moves neither AUC, accuracy and coverage nor the slices by size."""
    decision = decide(model("new", 0.95, 0.0), model("old", 0.95, 1.0), RULES)
    failed = {each.code for each in decision.findings if not each.passed}
    assert failed == {"feedback_accuracy"}
    assert finding(decision, "accuracy_at_flag").numbers["pictures"] == 300
    assert not [each for each in decision.findings if each.code == "left_out_auc_loss"]


def test_a_gain_on_feedback_does_not_pay_for_a_loss_on_the_older_pictures() -> None:
    decision = decide(model("new", 0.8, 1.0), model("old", 0.95, 0.2), RULES)
    assert not decision.promoted
    assert finding(decision, "feedback_accuracy").passed


def test_without_feedback_there_is_no_such_finding() -> None:
    champion, candidate = (model(name, 0.95, 0.9, pictures=0) for name in ("old", "new"))
    assert not [f for f in decide(candidate, champion, RULES).findings if f.code == "feedback_accuracy"]


@pytest.mark.parametrize(("use", "left_out", "feedback"), [("train", 0, 0), ("test", 1, 0), ("feedback", 1, 1)])
def test_the_table_tells_feedback_from_other_left_out_sources(
    tmp_path: Path, use: str, left_out: int, feedback: int
) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(f"path,label,p_fake,use\nfaces/1,0,0.1,train\nnew/1,1,0.9,{use}\n")
    table = read_predictions(path, "t", 0.5)
    assert (len(table.left_out), len(table.feedback)) == (left_out, feedback)
    assert table.trained.paths == (("faces/1", "new/1") if use == "train" else ("faces/1",))
