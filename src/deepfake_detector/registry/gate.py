"""Facts and predictions of a candidate and of the champion -> a decision with structured findings. Pure.

Code branches on a finding's `code`, `passed` and `numbers`; its `text` is for people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from deepfake_detector.config import Register
from deepfake_detector.evaluation.prediction_table import PredictionTable
from deepfake_detector.evaluation.source_metrics import left_out_subsets, strata
from deepfake_detector.model.bundle_contract import FORMAT_VERSION, WITHOUT_PROFILE
from deepfake_detector.registry.model_facts import EvaluatedModel, ModelFacts
from deepfake_detector.stats import (
    Difference,
    auc,
    auc_difference,
    mean_auc,
    mean_auc_difference,
    proportion_difference,
)

SAMPLE = "drawn sample"  # `trained_on` of a model that has seen no photographs


@dataclass(frozen=True)
class Finding:
    """Result of one check of the gate.

    Attributes:
        code: the check, as docs/registry.md lists them, for example `auc`.
        passed: a finding that did not pass refuses the candidate.
        text: the result in words, with the numbers and the setting that limits them.
        numbers: the values behind the text by name; empty where nothing was measured.
    """

    code: str
    passed: bool
    text: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text if self.passed else f"refused: {self.text}"


@dataclass(frozen=True)
class Decision:
    """All findings on one candidate."""

    findings: tuple[Finding, ...]

    @property
    def promoted(self) -> bool:
        """Whether the candidate becomes champion."""
        return all(finding.passed for finding in self.findings)


def decide(
    candidate: EvaluatedModel,
    champion: EvaluatedModel | None,
    rules: Register,
    no_champion: str = "there was no champion",
) -> Decision:
    """Decide whether a candidate becomes champion.

    The candidate must pass `check_floors`. Against a champion, on the same test pictures, its AUC must not be lower, or
    the interval must show that it is at most `max_auc_loss` lower. So an equal model passes where the test set is large
    enough to tell, and too few pictures never let a worse model pass. A loss of accuracy at `flag`, on all pictures or
    on a slice, of coverage, or of the mean AUC on left-out sources refuses the candidate if it exceeds its limit and
    chance does not explain it. Pictures of left-out sources count for their own finding and for slices alone.

    Args:
        candidate: with predictions on the test pictures.
        champion: the model that serves now, with predictions on the same pictures; None if there is none.
        rules: params.yaml's `register`.
        no_champion: text of the finding that replaces the comparison when `champion` is None.
    """
    facts = candidate.facts
    if champion is not None and champion.facts.bundle_sha256 == facts.bundle_sha256:
        return Decision((Finding("already_champion", False, "the candidate is the champion already"),))
    findings = check_floors(facts, rules)
    if champion is None:
        findings.append(Finding("no_champion", True, no_champion))
    else:
        findings += _compare_contracts(facts, champion.facts, rules)
        findings += _compare_predictions(*_on_common_paths(candidate.scores, champion.scores), rules)
    return Decision(tuple(findings))


def check_floors(facts: ModelFacts, rules: Register) -> list[Finding]:
    """Check what does not depend on a champion; a value that was not measured passes, and the text says so."""
    return [*_quality_findings(facts, rules), *_cost_findings(facts, rules), _data_finding(facts)]


def _quality_findings(facts: ModelFacts, rules: Register) -> Iterator[Finding]:
    if facts.quick_evaluation:
        text = "evaluated on small samples (evaluate.quick); evaluate it again with `-S evaluate.quick=false`"
        yield Finding("quick_evaluation", False, text)
    yield _at_least("accuracy", "accuracy", facts.accuracy, rules.min_accuracy, "min_accuracy")
    yield _at_most("calibration_error", "calibration error", facts.ece, rules.max_ece, "max_ece", ".4f")
    grid = "mean accuracy over the corruption grid"
    yield _at_least("robust_accuracy", grid, facts.robust_accuracy, rules.min_robust_accuracy, "min_robust_accuracy")
    if facts.left_out_auc is not None or rules.min_left_out_auc:
        left_out = "mean AUC on left-out sources"
        yield _at_least("left_out_auc", left_out, facts.left_out_auc, rules.min_left_out_auc, "min_left_out_auc")


def _cost_findings(facts: ModelFacts, rules: Register) -> Iterator[Finding]:
    if facts.engine_error:
        yield Finding("engine", False, f"the serving engine cannot run the bundle: {facts.engine_error}")
    yield _at_most("size", "bundle size in MiB", facts.size_mib, rules.max_size_mib, "max_size_mib", ".1f")
    milliseconds = "milliseconds of processor time per crop"
    yield _at_most("latency", milliseconds, facts.latency_ms, rules.max_latency_ms, "max_latency_ms", ".1f")


def _data_finding(facts: ModelFacts) -> Finding:
    if facts.failed_checks is None:
        return Finding("data_checks", True, "data checks were not evaluated: there is no reports/validate.json")
    numbers = {"failed": float(len(facts.failed_checks))}
    if facts.failed_checks:
        names = ", ".join(facts.failed_checks)
        return Finding("data_checks", False, f"its data failed {len(facts.failed_checks)} checks: {names}", numbers)
    return Finding("data_checks", True, "its data passed every check of severity `stop`", numbers)


def _at_least(code: str, name: str, value: float | None, minimum: float, setting: str) -> Finding:
    if value is None:
        return _not_measured(code, name, setting)
    text = f"{name} {value:.4f}, at least {minimum:g} required (register.{setting})"
    return Finding(code, value >= minimum, text, {"value": value, "min": minimum})


def _at_most(code: str, name: str, value: float | None, maximum: float, setting: str, digits: str) -> Finding:
    if value is None:
        return _not_measured(code, name, setting)
    text = f"{name} {value:{digits}}, at most {maximum:g} allowed (register.{setting})"
    return Finding(code, value <= maximum, text, {"value": value, "max": maximum})


def _not_measured(code: str, name: str, setting: str) -> Finding:
    return Finding(code, True, f"{name} was not measured, so register.{setting} was not checked")


def _compare_contracts(ours: ModelFacts, theirs: ModelFacts, rules: Register) -> Iterator[Finding]:
    if ours.trained_on == SAMPLE and theirs.trained_on != SAMPLE:
        text = f"trained on the {SAMPLE}; the champion is trained on {theirs.trained_on}"
        yield Finding("training_data", False, text)
    changed = [
        f"{name} {theirs.contract[name]} -> {value}"
        for name, value in ours.contract.items()
        if name in theirs.contract and not _is_compatible(name, value, theirs.contract[name])
    ]
    if not changed:
        yield Finding("contract", True, "the bundle contract is the champion's")
    else:
        text = f"the bundle contract differs from the champion's: {', '.join(changed)} (register.same_contract)"
        yield Finding("contract", not rules.same_contract, text)


def _is_compatible(name: str, ours: object, theirs: object) -> bool:
    """Whether callers of the champion can use the candidate: equal values, more kinds of fakes, or a profile more."""
    if name == "format_version":
        return ours == theirs or (theirs, ours) == (WITHOUT_PROFILE, FORMAT_VERSION)
    if name == "kinds" and isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return set(theirs) <= set(ours)
    return ours == theirs


def _on_common_paths(ours: PredictionTable, theirs: PredictionTable) -> tuple[PredictionTable, PredictionTable]:
    """Both restricted to the pictures that both scored: with other crop settings a few faces may not be found."""
    if ours.paths == theirs.paths:
        return ours, theirs
    common = sorted(set(ours.paths) & set(theirs.paths))
    return ours.select(common), theirs.select(common)


def _compare_predictions(ours: PredictionTable, theirs: PredictionTable, rules: Register) -> Iterator[Finding]:
    same = ours.test_digest == theirs.test_digest and np.array_equal(ours.labels, theirs.labels)
    trained = ours.trained, theirs.select(ours.trained.paths)
    if not same or len(set(trained[0].labels.tolist())) < 2:
        text = (
            f"evaluated on other test pictures ({ours.test_digest[:12]}) than the champion ({theirs.test_digest[:12]}),"
            " and the two could not be scored on the same ones"
        )
        yield Finding("test_pictures", False, text)
        return
    yield _auc_finding(*trained, rules)
    yield _accuracy_finding(*trained, rules)
    yield from _coverage_finding(*trained, rules)
    yield from _left_out_finding(ours, theirs, rules)
    yield from _feedback_finding(ours, theirs, rules)
    yield from _slice_findings(ours, theirs, rules)


def _auc_finding(ours: PredictionTable, theirs: PredictionTable, rules: Register) -> Finding:
    candidate, champion = (auc(table.p_fake, table.labels) for table in (ours, theirs))
    difference, loss = auc_difference(ours.p_fake, theirs.p_fake, ours.labels), rules.max_auc_loss
    within_loss = difference.low >= -loss
    if difference.low > 0:
        result = "better"
    elif within_loss:
        result = f"no worse than the accepted loss of {loss:g}"
    elif difference.value >= 0:
        result = "more likely better than worse"
    else:
        result = f"not shown to be within the accepted loss of {loss:g}"
    text = (
        f"AUC {candidate:.4f} against the champion's {champion:.4f} on the same {len(ours.labels)} test pictures: "
        f"difference {difference}: {result} (register.max_auc_loss)"
    )
    numbers = _comparison(candidate, champion, difference, loss, len(ours.labels))
    return Finding("auc", within_loss or difference.value >= 0, text, numbers)


def _accuracy_finding(ours: PredictionTable, theirs: PredictionTable, rules: Register) -> Finding:
    difference = proportion_difference(ours.correct, theirs.correct)
    limit = rules.max_accuracy_loss, "max_accuracy_loss"
    return _accuracy_loss("accuracy_at_flag", "accuracy at `flag`", ours.correct, theirs.correct, difference, *limit)


def _coverage_finding(ours: PredictionTable, theirs: PredictionTable, rules: Register) -> Iterator[Finding]:
    """Compare how many pictures get a right answer: wrong answers are no coverage worth keeping."""
    if ours.decided is None or theirs.decided is None:
        return
    candidate, champion = ours.decided & ours.correct, theirs.decided & theirs.correct
    difference = proportion_difference(candidate, champion)
    limit = rules.max_coverage_loss, "max_coverage_loss"
    yield _accuracy_loss("coverage", "coverage by right answers", candidate, champion, difference, *limit)


def _left_out_finding(ours: PredictionTable, theirs: PredictionTable, rules: Register) -> Iterator[Finding]:
    """Compare the mean AUC on sources that the candidate was not trained on; none without such sources."""
    ours, theirs = ours.without(ours.feedback), theirs.without(ours.feedback)
    left_out = ours.left_out - ours.feedback
    subsets = left_out_subsets(ours.labels, ours.sources, left_out)
    if not subsets:
        return
    candidate, champion = (mean_auc(table.p_fake, table.labels, subsets) for table in (ours, theirs))
    difference = mean_auc_difference(
        ours.p_fake, theirs.p_fake, ours.labels, subsets, strata(ours.labels, ours.sources)
    )  # fmt: skip
    limit = rules.max_left_out_auc_loss, "max_left_out_auc_loss"
    label, pictures = f"mean AUC on left-out sources ({', '.join(sorted(left_out))})", len(ours.labels)
    yield _limited_loss("left_out_auc_loss", label, candidate, champion, difference, pictures, *limit)


def _feedback_finding(ours: PredictionTable, theirs: PredictionTable, rules: Register) -> Iterator[Finding]:
    """Compare the accuracy on held-out feedback, and name that on the older test pictures beside it.

    It can refuse a candidate and never lets one pass that the other findings refuse: people who give feedback must not
    decide alone which model serves.
    """
    names = ours.feedback & set(ours.sources)
    if not names:
        return
    candidate, champion = (table.only(names).correct for table in (ours, theirs))
    old = [float(table.trained.correct.mean()) for table in (ours, theirs)]
    label = f"accuracy at `flag` on {len(candidate)} held-out feedback pictures ({', '.join(sorted(names))})"
    difference = proportion_difference(candidate, champion)
    found = _accuracy_loss(
        "feedback_accuracy", label, candidate, champion, difference, rules.max_slice_loss, "max_slice_loss"
    )
    few = len(candidate) < rules.min_slice_images
    note = f"; too few to refuse a candidate (register.min_slice_images {rules.min_slice_images})" if few else ""
    text = f"{found.text}; on the {len(ours.trained.paths)} other test pictures {old[0]:.4f} against {old[1]:.4f}{note}"
    numbers = {**found.numbers, "old_candidate": old[0], "old_champion": old[1]}
    yield Finding(found.code, found.passed or few, text, numbers)


def _slice_findings(ours: PredictionTable, theirs: PredictionTable, rules: Register) -> Iterator[Finding]:
    """One finding per slice that is worse, or a single one that passes.

    With k slices each interval covers 1 - 0.05 / k (Bonferroni): at 95 % each, chance alone would refuse many.
    """
    ours, theirs = ours.without(ours.feedback), theirs.without(ours.feedback)
    slices = {
        name: mask for name, mask in ours.slices.items() if rules.min_slice_images <= mask.sum() < len(ours.labels)
    }
    worse = []
    for name, mask in slices.items():
        candidate, champion = ours.correct[mask], theirs.correct[mask]
        difference = proportion_difference(candidate, champion, 1 - 0.05 / len(slices))
        label, limit = f"{name} ({int(mask.sum())} pictures), accuracy at `flag`", rules.max_slice_loss
        found = _accuracy_loss("slice_accuracy", label, candidate, champion, difference, limit, "max_slice_loss")
        worse += [] if found.passed else [found]
    yield from worse
    if not worse:
        columns = ", ".join(sorted({name.partition(": ")[0] for name in ours.slices})) or "nothing"
        text = f"no slice is worse: {len(slices)} compared, by {columns} (register.max_slice_loss)"
        yield Finding("slice_accuracy", True, text, {"compared": float(len(slices))})


def _accuracy_loss(
    code: str,
    label: str,
    ours: np.ndarray,
    theirs: np.ndarray,
    difference: Difference,
    limit: float,
    setting: str,
) -> Finding:
    """Compare right answers (n,) bool; a loss refuses if it exceeds `limit` and the interval excludes zero."""
    candidate, champion = float(ours.mean()), float(theirs.mean())
    return _limited_loss(code, label, candidate, champion, difference, len(ours), limit, setting)


def _limited_loss(
    code: str,
    label: str,
    candidate: float,
    champion: float,
    difference: Difference,
    pictures: int,
    limit: float,
    setting: str,
) -> Finding:
    worse = difference.value < -limit and difference.high < 0
    result = f"a loss above the accepted {limit:g}" if worse else f"no loss above the accepted {limit:g}"
    text = f"{label} {candidate:.4f} against {champion:.4f}: difference {difference}: {result} (register.{setting})"
    return Finding(code, not worse, text, _comparison(candidate, champion, difference, limit, pictures))


def _comparison(
    candidate: float, champion: float, difference: Difference, limit: float, pictures: int
) -> dict[str, float]:
    return {
        "candidate": candidate,
        "champion": champion,
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "max_loss": limit,
        "pictures": float(pictures),
    }
