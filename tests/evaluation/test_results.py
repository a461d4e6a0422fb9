"""Targets are met or missed by the metrics, source by source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deepfake_detector.evaluation.results import Target, compare_with_targets
from deepfake_detector.evaluation.robustness_metrics import MeanMetrics
from deepfake_detector.stats import Estimate
from tests.evaluation.known_case import Case


def met_by_name(targets: Sequence[Target]) -> dict[str, bool]:
    return {target.name: target.met for target in targets}


def test_generated_faces_and_swaps_have_targets_of_their_own(case: Case) -> None:
    kinds = {"swaps": "swap", "faces": "synthetic"}
    targets = compare_with_targets(case.results.sources, case.results.grid, kinds, 1234)
    met = met_by_name(targets)
    assert {name for name in met if name.startswith("swaps")} == {"swaps: AUC"}
    assert len([name for name in met if name.startswith("faces")]) == 4
    assert met["parameters"]
    assert not met["faces: mean accuracy over the corruption grid"]
    codes = ["accuracy", "auc", "robust_accuracy", "ece", "auc", "false_positive_rate", "parameters"]
    assert [target.code for target in targets] == codes


def test_a_target_is_met_at_its_limit(case: Case) -> None:
    mean = MeanMetrics(40, Estimate(0.88, 0.8, 0.9), Estimate(0.8, 0.7, 0.9), 1.0)
    grid = replace(case.results.grid, means={"all": mean, "faces": mean, "swaps": mean})
    targets = compare_with_targets(case.results.sources, grid, {}, 4_500_000)
    assert met_by_name(targets)["faces: mean accuracy over the corruption grid"]
    assert not met_by_name(targets)["parameters"]
    parameters = next(target for target in targets if target.code == "parameters")
    assert (parameters.required, parameters.measured) == ("under 4,500,000", "4,500,000")


def test_the_false_positive_rate_is_the_mean_of_the_sources(case: Case) -> None:
    rates = [each.false_positive_rate for each in case.results.sources]
    mean = sum(rate.value for rate in rates if rate) / len(rates)
    target = next(target for target in case.results.targets if target.code == "false_positive_rate")
    assert target.measured == f"{mean:.1%}"
    assert target.met == (mean <= 0.05)
