"""Every floor alone: at it, beyond it, and not measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deepfake_detector.config import Register
from deepfake_detector.registry.gate import Facts, floors

RULES = Register(
    experiment="e", model_name="m", min_accuracy=0.6, max_ece=0.1, min_robust_accuracy=0.55, max_size_mib=10.0,
    max_latency_ms=50.0, same_contract=True, max_auc_loss=0.0, max_accuracy_loss=0.0, max_slice_loss=0.0,
    min_slice_images=1,
)  # fmt: skip
AT_THE_LIMITS = Facts(
    bundle_sha256="a", trained_on="photographs", contract={}, accuracy=0.6, ece=0.1, robust_accuracy=0.55,
    size_mib=10.0, latency_ms=50.0, failed_checks=(),
)  # fmt: skip


def refusals(**changed: Any) -> list[str]:
    return [finding.reason for finding in floors(replace(AT_THE_LIMITS, **changed), RULES) if not finding.passed]


def test_exactly_at_every_limit_is_enough() -> None:
    assert refusals() == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"accuracy": 0.5999}, "refused: accuracy 0.5999, at least 0.6 asked for (register.min_accuracy)"),
        ({"ece": 0.1001}, "refused: calibration error 0.1001, at most 0.1 allowed (register.max_ece)"),
        (
            {"robust_accuracy": 0.5},
            "refused: mean accuracy over the robustness grid 0.5000, at least 0.55 asked for "
            "(register.min_robust_accuracy)",
        ),
        ({"size_mib": 10.2}, "refused: size in MiB 10.2, at most 10 allowed (register.max_size_mib)"),
        ({"latency_ms": 51.0}, "refused: milliseconds a crop 51.0, at most 50 allowed (register.max_latency_ms)"),
        ({"failed_checks": ("copies", "border")}, "refused: its data failed 2 checks: copies, border"),
        ({"trouble": "no graph"}, "refused: the engine that serves cannot use it: no graph"),
    ],
)
def test_each_refuses_by_itself_and_quotes_both_numbers(changed: dict[str, Any], reason: str) -> None:
    assert refusals(**changed) == [reason]


def test_what_was_not_measured_refuses_nothing_and_is_named() -> None:
    unknown = dict.fromkeys(("accuracy", "ece", "robust_accuracy", "latency_ms", "failed_checks"))
    assert refusals(**unknown) == []
    words = "\n".join(finding.words for finding in floors(replace(AT_THE_LIMITS, **unknown), RULES))
    for rule in ("min_accuracy", "max_ece", "min_robust_accuracy", "max_latency_ms"):
        assert f"not measured, so register.{rule} was not asked" in words
    assert "data checks: not reported" in words
