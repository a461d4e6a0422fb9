"""What was found out -> sentences about where the model fails, each from a number."""

from __future__ import annotations

from collections.abc import Callable

from deepfake_detector.evidence.estimate import Estimate
from deepfake_detector.evidence.findings import Findings
from deepfake_detector.evidence.robustness import CLEAN, Outcome, worst

NOTABLE = 0.02  # accuracy under that of all test pictures from which a kind of pictures is named
MISSING = 0.02  # share of pictures without a judgeable face from which a condition is named


def known_failures(found: Findings) -> list[str]:
    """The worst conditions and kinds of pictures, alarms of the probes, and how sure that is."""
    return [*_conditions(found), *_kinds(found), *(f'probe "{p.name}": {p.told}' for p in found.alarms)]


def _conditions(found: Findings) -> list[str]:
    degraded = [outcome for outcome in found.grid.of() if outcome.condition != CLEAN]
    lines = [
        f"{o.condition}: accuracy {o.accuracy}, {_found(o)}" for o in worst(found.grid.of())
    ]  # fmt: skip
    alarm = _most(degraded, lambda o: o.false_alarms)
    if alarm and alarm.false_alarms:
        lines.append(f"most false alarms at `flag`: {alarm.condition}, {alarm.false_alarms} of the real faces")
    blind = min(degraded, key=lambda o: o.coverage.value)
    if blind.coverage.value < 1 - MISSING:
        lines.append(f"{blind.condition}: only {blind.coverage} of the pictures show a face fit to be judged")
    return lines


def _found(outcome: Outcome) -> str:
    return f"{outcome.caught} of the fakes found at `flag`" if outcome.caught else "no fakes to find"


def _most(outcomes: list[Outcome], figure: Callable[[Outcome], Estimate | None]) -> Outcome | None:
    known = [(value.value, i) for i, o in enumerate(outcomes) if (value := figure(o))]
    return outcomes[max(known)[1]] if known else None


def _kinds(found: Findings) -> list[str]:
    least = found.test.accuracy.value - NOTABLE
    weak = [each for each in found.slices if each.accuracy.value < least]
    return [
        f"{each.facet} `{each.name}`: accuracy {each.accuracy} on {each.images} pictures"
        f"{', too few to be sure' if each.tiny else ''}"
        for each in sorted(weak, key=lambda each: each.accuracy.value)
    ]
