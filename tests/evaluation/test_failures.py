"""Failures are named from the numbers, the worst first."""

from dataclasses import replace

from deepfake_detector.evaluation.card import known_failures


def test_the_worst_condition_and_the_weak_kind_of_picture_are_named(case) -> None:
    told = known_failures(case.found)
    assert told[0].startswith("JPEG 30: accuracy 0.556")
    assert any("most false alarms at `flag`: JPEG 30, 1.000" in line for line in told)
    assert any("JPEG 30: only 0.900" in line for line in told)
    assert any("face size `small, under 96 px`" in line and "too few to be sure" in line for line in told)
    assert not any("large" in line for line in told)


def test_alarms_are_failures_and_passes_are_none(case) -> None:
    told = known_failures(case.found)
    assert any(line.startswith('probe "saved again"') for line in told)
    assert not any("flipped" in line for line in told)
    assert not any("probe" in line for line in known_failures(replace(case.found, probes=())))
