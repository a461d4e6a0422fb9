"""Facts of one model -> what it must reach by itself, whatever the champion is. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deepfake_detector.registry.facts import Facts
from deepfake_detector.settings import Register


@dataclass(frozen=True)
class Finding:
    """One question of the gate and its answer, in words that quote both numbers."""

    about: str
    passed: bool
    words: str

    @property
    def reason(self) -> str:
        """For people: a refusal says so first."""
        return self.words if self.passed else f"refused: {self.words}"


def floors(facts: Facts, rules: Register) -> list[Finding]:
    """Ask everything that needs no rival; a figure that nobody measured refuses nothing, but is named."""
    return [*_quality(facts, rules), *_budget(facts, rules), _data(facts)]


def _quality(facts: Facts, rules: Register) -> Iterator[Finding]:
    yield _at_least("accuracy", facts.accuracy, rules.min_accuracy, "register.min_accuracy")
    yield _at_most("calibration error", facts.ece, rules.max_ece, "register.max_ece", ".4f")
    yield _at_least(
        "mean accuracy over the robustness grid",
        facts.robust_accuracy,
        rules.min_robust_accuracy,
        "register.min_robust_accuracy",
    )


def _budget(facts: Facts, rules: Register) -> Iterator[Finding]:
    if facts.trouble:
        yield Finding("engine", False, f"the engine that serves cannot use it: {facts.trouble}")
    yield _at_most("size in MiB", facts.size_mib, rules.max_size_mib, "register.max_size_mib", ".1f")
    yield _at_most("milliseconds a crop", facts.latency_ms, rules.max_latency_ms, "register.max_latency_ms", ".1f")


def _data(facts: Facts) -> Finding:
    if facts.failed_checks is None:
        return Finding("data checks", True, "data checks: not reported (reports/validate.json), so not asked")
    if facts.failed_checks:
        names = ", ".join(facts.failed_checks)
        return Finding("data checks", False, f"its data failed {len(facts.failed_checks)} checks: {names}")
    return Finding("data checks", True, "its data passed every check that stops the road")


def _at_least(name: str, found: float | None, floor: float, rule: str) -> Finding:
    if found is None:
        return _unknown(name, rule)
    return Finding(name, found >= floor, f"{name} {found:.4f}, at least {floor:g} asked for ({rule})")


def _at_most(name: str, found: float | None, most: float, rule: str, digits: str) -> Finding:
    if found is None:
        return _unknown(name, rule)
    return Finding(name, found <= most, f"{name} {found:{digits}}, at most {most:g} allowed ({rule})")


def _unknown(name: str, rule: str) -> Finding:
    return Finding(name, True, f"{name}: not measured, so {rule} was not asked")
