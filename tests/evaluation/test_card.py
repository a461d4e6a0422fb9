"""The model card says what was measured, per kind of picture, where it fails, and on what terms it may be used."""

from __future__ import annotations

from dataclasses import replace

from deepfake_detector.evaluation.card import UNKNOWN_TERMS, model_card
from deepfake_detector.stats import Estimate


def test_figures_come_with_their_intervals(case) -> None:
    card, test = model_card(case.contract, case.found), case.found.test
    assert f"| AUC | {test.auc.value:.4f} | {test.auc.low:.4f} to {test.auc.high:.4f} |" in card
    assert f"| calibration error (ECE) | {test.ece.value:.4f} | {test.ece.low:.4f} to {test.ece.high:.4f} |" in card
    assert str(case.found.grid.means["all"].accuracy) in card
    assert str(case.found.sent_band.false_alarms) in card


def test_whole_pictures_are_told_as_a_scan_of_them_would(case) -> None:
    card, everything = model_card(case.contract, case.found), case.found.served[0]
    judged = round(everything.coverage.value * everything.images)
    row = f"| `{everything.source}` | {everything.images} | {judged} | {everything.accuracy.value:.4f} | "
    assert everything.auc is not None
    assert f"{row}{everything.auc.value:.4f} |" in card
    mute = replace(everything, source="mute", auc=None)  # a source of one class has none
    assert "| `mute` |" in model_card(case.contract, replace(case.found, served=(mute,)))


def test_kinds_of_pictures_make_a_table_unless_all_are_of_one_kind(case) -> None:
    card = model_card(case.contract, case.found)
    assert "| source | `faces` | 60 |" in card
    assert "| face size | `small, under 96 px` (tiny) | 40 |" in card
    assert "| compression |" not in card  # all are alike


def test_failures_are_taken_from_the_worst(case) -> None:
    failures = model_card(case.contract, case.found).split("## Known failures")[1].split("##")[0]
    assert failures.strip().startswith("- JPEG 30: accuracy 0.556")
    assert "saved again" in failures


def test_goals_are_told_met_or_missed(case) -> None:
    card = model_card(case.contract, case.found)
    assert "| parameters | under 1,500,000 | 1,234 | met |" in card
    assert "**missed**" in card


def test_terms_of_the_data_bind_the_model(case) -> None:
    assert "- `swaps`: for research only" in model_card(case.contract, case.found)
    unknown = model_card(case.contract, replace(case.found, terms={}))
    assert UNKNOWN_TERMS in unknown
    drawn = case.contract.model_copy(update={"trained_on": "drawn sample"})
    assert UNKNOWN_TERMS not in model_card(drawn, replace(case.found, terms={}))


def test_pictures_that_were_saved_anew_are_mentioned(case) -> None:
    assert "JPEG of quality 80" in model_card(case.contract, replace(case.found, reencode=80))
    assert "JPEG of quality" not in model_card(case.contract, case.found)


def test_the_card_tells_people_not_to_use_a_model_of_drawings_on_photographs(case) -> None:
    drawn = case.contract.model_copy(update={"trained_on": "drawn sample"})
    assert "do not judge anybody's picture with it" in model_card(drawn, case.found)
    assert "do not judge anybody" not in model_card(case.contract, case.found)


def test_a_network_without_a_map_is_not_said_to_explain(case) -> None:
    assert "this network has none" in model_card(case.contract, replace(case.found, explanation=None))
    assert "what it shows decides" in model_card(case.contract, case.found)


def test_a_map_that_fails_one_comparison_is_said_to_fail_that_one(case) -> None:
    explained = case.found.explanation
    gains = dict(explained.gains) | {("insertion", "random"): Estimate(0.01, -0.02, 0.04)}
    card = model_card(case.contract, replace(case.found, explanation=replace(explained, gains=gains)))
    assert "no better: insertion against random)" in card
