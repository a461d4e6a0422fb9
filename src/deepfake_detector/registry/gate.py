"""Reports and bundle of one model -> what the gate must know of it besides its scores, as JSON too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from deepfake_detector.config import Register
from deepfake_detector.evaluation.prediction_table import Scores
from deepfake_detector.model.bundle import Bundle, Contract
from deepfake_detector.stats import Difference, area_under_roc, auc_difference, share_difference

INTERFACE = ("format_version", "side_px", "alignment", "crop_scale", "min_face_px", "kinds")


@dataclass(frozen=True)
class Facts:
    """Figures of one model; None where nobody measured."""

    bundle_sha256: str
    trained_on: str  # photographs | drawn sample
    contract: Mapping[str, Any]  # what services and callers rely on
    accuracy: float | None  # 0..1, at p_fake >= 0.5, on the test pictures
    ece: float | None  # calibration error on them
    robust_accuracy: float | None  # 0..1, mean over the robustness grid
    size_mib: float  # of the bundle's files
    latency_ms: float | None  # one crop, in the engine that serves
    failed_checks: tuple[str, ...] | None  # data checks of severity `stop`
    trouble: str = ""  # why the engine that serves cannot use it

    def as_json(self) -> str:
        """For a tag of the version."""
        return json.dumps(asdict(self), sort_keys=True)


def facts_of(
    bundle: Bundle, judged: Mapping[str, Any], checked: Mapping[str, Any] | None, latency_ms: float | None = None
) -> Facts:
    """Collect them.

    Args:
        bundle: sealed.
        judged: reports/evaluate.json; nothing of it must be there.
        checked: reports/validate.json, or None.
        latency_ms: of one crop, if measured.
    """
    test = judged.get("test") or bundle.contract.test_metrics
    return Facts(
        bundle_sha256=bundle.sha256,
        trained_on=bundle.contract.trained_on,
        contract=interface(bundle.contract),
        accuracy=number(test, "accuracy"),
        ece=number(test, "ece"),
        robust_accuracy=number(judged, "grid", "all", "accuracy"),
        size_mib=sum(path.stat().st_size for path in bundle.path.iterdir()) / 2**20,
        latency_ms=latency_ms,
        failed_checks=None if checked is None else failed_checks(checked),
    )


def read_facts(tag: str | None, bundle: Bundle) -> Facts:
    """A version's facts; one that was registered before they were kept is known by its contract alone."""
    if not tag:
        return facts_of(bundle, {}, None)
    content = json.loads(tag)
    checks = content["failed_checks"]
    return Facts(**(content | {"failed_checks": None if checks is None else tuple(checks)}))


def interface(contract: Contract) -> dict[str, Any]:
    """What a service or a caller relies on, as JSON has it."""
    whole = contract.model_dump(mode="json")
    return {name: whole[name] for name in INTERFACE}


def failed_checks(checked: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the checks and probes that should have stopped the road."""
    entries: Sequence[Mapping[str, Any]] = [*checked.get("checks", ()), *checked.get("probes", ())]
    return tuple(str(e["name"]) for e in entries if not e["passed"] and e["severity"] == "stop")


def number(report: Mapping[str, Any], *path: str) -> float | None:
    """A figure at a path of names, bare or as {"value": ...}; None where there is none."""
    found: Any = report
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    found = found.get("value") if isinstance(found, Mapping) else found
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


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


class Judged(NamedTuple):
    """One model as the gate sees it."""

    facts: Facts
    scores: Scores


@dataclass(frozen=True)
class Decision:
    """What to do with a candidate, why in words, and the numbers behind the words."""

    promote: bool
    reasons: tuple[str, ...]
    figures: dict[str, float] = field(default_factory=dict)


def decide(
    candidate: Judged, champion: Judged | None, rules: Register, no_champion: str = "there was no champion"
) -> Decision:
    """Judge whether a candidate becomes champion.

    It must reach the floors by itself. Against a champion, on the same test pictures, its AUC must not be lower, or
    the interval must show that it is at most `max_auc_loss` lower: so an equal model is let through where the test set
    is large enough to tell, and a worse one never for lack of pictures. Its accuracy at `flag`, as a whole and in every
    slice, may veto that, if the loss is above the margin and no accident.

    Args:
        candidate: who asks.
        champion: who serves now, judged on the same pictures; None if nobody does.
        rules: params.yaml's `register`.
        no_champion: why nobody serves, in words.
    """
    facts = candidate.facts
    if champion is not None and champion.facts.bundle_sha256 == facts.bundle_sha256:
        return Decision(False, ("the candidate is the champion already",))
    findings = floors(facts, rules)
    figures = {} if facts.accuracy is None else {"accuracy": facts.accuracy}
    if champion is None:
        findings.append(Finding("champion", True, no_champion))
    else:
        findings += _same_interface(facts, champion.facts, rules)
        ours, theirs = _same_pictures(candidate.scores, champion.scores)
        findings += _compare(ours, theirs, rules, figures)
    return Decision(all(f.passed for f in findings), tuple(f.reason for f in findings), figures)


def _same_interface(ours: Facts, theirs: Facts, rules: Register) -> Iterator[Finding]:
    if ours.trained_on == "drawn sample" and theirs.trained_on != ours.trained_on:
        yield Finding("data", False, f"trained on the drawn sample; the champion is trained on {theirs.trained_on}")
    changed = [
        f"{name} {theirs.contract[name]} -> {value}"
        for name, value in ours.contract.items()
        if name in theirs.contract and not _serves(name, value, theirs.contract[name])
    ]
    if not changed:
        yield Finding("contract", True, "the same bundle contract as the champion's")
    else:
        words = f"another bundle contract than the champion's: {', '.join(changed)} (register.same_contract)"
        yield Finding("contract", not rules.same_contract, words)


def _serves(name: str, ours: object, theirs: object) -> bool:
    """Equal; but one that tells more kinds of fakes apart serves everybody whom the champion served."""
    if name == "kinds" and isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return set(theirs) <= set(ours)
    return ours == theirs


def _same_pictures(ours: Scores, theirs: Scores) -> tuple[Scores, Scores]:
    """Both on the pictures that both judged; a crop cut otherwise may have lost a few."""
    if ours.paths == theirs.paths:
        return ours, theirs
    both = sorted(set(ours.paths) & set(theirs.paths))
    return ours.only(both), theirs.only(both)


def _compare(ours: Scores, theirs: Scores, rules: Register, figures: dict[str, float]) -> Iterator[Finding]:
    same = ours.test_digest == theirs.test_digest and np.array_equal(ours.labels, theirs.labels)
    if not same or len(set(ours.labels.tolist())) < 2:
        words = (
            f"judged on other test pictures ({ours.test_digest[:12]}) than the champion ({theirs.test_digest[:12]}), "
            "and nobody could score both on the same ones"
        )
        yield Finding("test pictures", False, words)
        return
    yield _auc(ours, theirs, rules, figures)
    yield _accuracy(ours, theirs, rules, figures)
    yield from _slices(ours, theirs, rules)


def _auc(ours: Scores, theirs: Scores, rules: Register, figures: dict[str, float]) -> Finding:
    own, rival = (area_under_roc(s.labels, s.p_fake) for s in (ours, theirs))
    apart = auc_difference(ours.labels, ours.p_fake, theirs.p_fake)
    figures |= {"auc": own, "auc_champion": rival, "auc_low": apart.low, "auc_high": apart.high}
    harmless = apart.low >= -rules.max_auc_loss
    if apart.low > 0:
        verdict = "better"
    elif harmless:
        verdict = f"no worse than the loss of {rules.max_auc_loss:g} that is accepted"
    elif apart.value >= 0:
        verdict = "likelier better than worse"
    else:
        verdict = f"not shown to be within the loss of {rules.max_auc_loss:g} that is accepted"
    words = (
        f"AUC {own:.4f} against the champion's {rival:.4f} on the same {len(ours.labels)} test pictures: "
        f"difference {apart}: {verdict} (register.max_auc_loss)"
    )
    return Finding("auc", harmless or apart.value >= 0, words)


def _accuracy(ours: Scores, theirs: Scores, rules: Register, figures: dict[str, float]) -> Finding:
    apart = share_difference(ours.right, theirs.right)
    own, rival = float(ours.right.mean()), float(theirs.right.mean())
    figures |= {"accuracy_at_flag": own, "accuracy_at_flag_champion": rival}
    figures |= {"accuracy_at_flag_low": apart.low, "accuracy_at_flag_high": apart.high}
    return _veto("accuracy at `flag`", own, rival, apart, rules.max_accuracy_loss, "register.max_accuracy_loss")


def _slices(ours: Scores, theirs: Scores, rules: Register) -> Iterator[Finding]:
    """Every slice large enough; the more there are, the wider each interval, or chance would find a bad one."""
    members = {
        name: pictures
        for name, pictures in ours.slices.items()
        if rules.min_slice_images <= pictures.sum() < len(ours.labels)
    }
    refused = []
    for name, pictures in members.items():
        own, rival = ours.right[pictures], theirs.right[pictures]
        apart = share_difference(own, rival, 1 - 0.05 / len(members))
        label = f"{name} ({int(pictures.sum())} pictures), accuracy at `flag`"
        found = _veto(
            label, float(own.mean()), float(rival.mean()), apart, rules.max_slice_loss, "register.max_slice_loss"
        )
        if not found.passed:
            refused.append(found)
    yield from refused
    if not refused:
        kinds = sorted({name.partition(": ")[0] for name in ours.slices})
        words = f"no slice worse: {len(members)} compared, by {', '.join(kinds) or 'nothing'} (register.max_slice_loss)"
        yield Finding("slices", True, words)


def _veto(name: str, ours: float, theirs: float, apart: Difference, margin: float, rule: str) -> Finding:
    worse = apart.value < -margin and apart.high < 0
    words = f"{name} {ours:.4f} against {theirs:.4f}: difference {apart}"
    loss = f"a loss above the {margin:g}" if worse else f"no loss above the {margin:g}"
    return Finding(name, not worse, f"{words}: {loss} that is accepted ({rule})")
