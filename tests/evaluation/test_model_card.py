"""The model card: performance per slice, known failures, and the terms of use."""

from __future__ import annotations

from dataclasses import replace

from deepfake_detector.evaluation.model_card import UNKNOWN_TERMS, known_failures, model_card
from deepfake_detector.stats import Estimate
from tests.evaluation.known_case import Case


def test_metrics_come_with_their_intervals(case: Case) -> None:
    card, test = model_card(case.contract, case.results), case.results.test
    assert f"| AUC | {test.auc.value:.4f} | {test.auc.low:.4f} to {test.auc.high:.4f} |" in card
    assert f"| calibration error (ECE) | {test.ece.value:.4f} | {test.ece.low:.4f} to {test.ece.high:.4f} |" in card
    assert str(case.results.grid.means["all"].accuracy) in card
    clean, corrupted = case.results.at_thresholds, case.results.at_thresholds_corrupted
    rates = f"| {clean.false_positive_rate} | {corrupted.false_positive_rate} |"
    assert f"| false positive rate at `flag` {rates}" in card


def test_whole_pictures_are_reported_end_to_end(case: Case) -> None:
    card, whole = model_card(case.contract, case.results), case.results.end_to_end[0]
    scored = round(whole.coverage.value * whole.images)
    row = f"| `{whole.source}` | {whole.images} | {scored} | {whole.accuracy.value:.4f} | "
    assert whole.auc is not None
    assert f"{row}{whole.auc.value:.4f} |" in card
    one_class = replace(whole, source="one_class", auc=None)
    assert "| `one_class` |" in model_card(case.contract, replace(case.results, end_to_end=(one_class,)))


def test_slices_make_a_table_unless_all_pictures_are_in_one(case: Case) -> None:
    card = model_card(case.contract, case.results)
    assert "| `faces` | 30, 30 |" in card
    assert "| face size | `small, under 96 px` (small sample) | 40 |" in card
    assert "| compression |" not in card  # all are alike


def test_known_failures_start_with_the_worst_condition(case: Case) -> None:
    failures = model_card(case.contract, case.results).split("## Known failures")[1].split("##")[0]
    assert failures.strip().startswith("- JPEG 30: accuracy 0.556")
    assert "recompression" in failures


def test_the_worst_condition_and_the_weak_slice_are_named(case: Case) -> None:
    failures = known_failures(case.results)
    assert failures[0].startswith("JPEG 30: accuracy 0.556")
    assert any("highest false positive rate at `flag`: 1.000" in line and "JPEG 30" in line for line in failures)
    assert any("JPEG 30: only 0.900" in line for line in failures)
    assert any("face size `small, under 96 px`" in line and "small sample" in line for line in failures)
    assert not any("large" in line for line in failures)


def test_failed_probes_are_failures_and_passed_ones_are_not(case: Case) -> None:
    failures = known_failures(case.results)
    assert any(line.startswith("probe `recompression` failed") for line in failures)
    assert not any("flip" in line for line in failures)
    assert not any("probe" in line for line in known_failures(replace(case.results, probes=())))


def test_targets_are_met_or_missed(case: Case) -> None:
    card = model_card(case.contract, case.results)
    assert "| parameters | under 4,500,000 | 1,234 | met |" in card
    assert "**missed**" in card


def test_terms_of_the_data_are_those_of_the_model(case: Case) -> None:
    assert "- `swaps`: for research only" in model_card(case.contract, case.results)
    unknown = model_card(case.contract, replace(case.results, terms={}))
    assert UNKNOWN_TERMS in unknown
    drawn = case.contract.model_copy(update={"trained_on": "drawn sample"})
    assert UNKNOWN_TERMS not in model_card(drawn, replace(case.results, terms={}))


def test_recompression_before_cropping_is_mentioned(case: Case) -> None:
    assert "JPEG of quality 80" in model_card(case.contract, replace(case.results, reencode=80))
    assert "JPEG of quality" not in model_card(case.contract, case.results)


def test_a_model_of_drawings_is_not_for_photographs(case: Case) -> None:
    drawn = case.contract.model_copy(update={"trained_on": "drawn sample"})
    assert "do not use it on pictures of people" in model_card(drawn, case.results)
    assert "do not use it on pictures" not in model_card(case.contract, case.results)


def test_a_network_without_a_map_has_no_heatmap(case: Case) -> None:
    assert "this network has none" in model_card(case.contract, replace(case.results, faithfulness=None))
    assert "Heatmap: faithful" in model_card(case.contract, case.results)


def test_a_map_that_fails_one_comparison_is_not_faithful(case: Case) -> None:
    faithfulness = case.results.faithfulness
    assert faithfulness is not None
    gains = dict(faithfulness.gains) | {("insertion", "random"): Estimate(0.01, -0.02, 0.04)}
    card = model_card(case.contract, replace(case.results, faithfulness=replace(faithfulness, gains=gains)))
    assert "no better: insertion against random)" in card


def test_a_quick_evaluation_is_named_and_changes_the_card(case: Case) -> None:
    """The card is sealed into the bundle: a full evaluation of the same weights is another version for the gate."""
    assert "Quick evaluation" not in model_card(case.contract, case.results)
    assert "The gate does not promote this model." in model_card(case.contract, replace(case.results, quick=True))
    assert replace(case.results, quick=True).headline()["quick"] is True


def test_the_card_names_the_drift_report_and_the_feedback_that_led_to_the_training(case: Case) -> None:
    assert "drift report" not in model_card(case.contract, case.results)
    contract = case.contract.model_copy(update={"data_sha256": {"faces": "a" * 64, "feedback": "b" * 64}})
    results = replace(
        case.results, feedback=frozenset({"feedback", "feedback_held_out"}), drift_report="drift-2026-11-29-1a2b3c4d"
    )
    training = model_card(contract, results).split("## Training")[1].split("## Limitations")[0]
    assert "- drift report before this training: `drift-2026-11-29-1a2b3c4d`" in training
    assert "pictures that users sent and a person accepted: `feedback` (archives below)" in training
    assert f"- `feedback`: archive SHA-256 `{'b' * 64}`" in training
