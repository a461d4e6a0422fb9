"""Facts and scores of candidate and champion -> promote or not, with reasons in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from deepfake_detector.registry.facts import Facts
from deepfake_detector.registry.floors import Finding, floors
from deepfake_detector.registry.paired import Difference, area_under_roc, auc_difference, share_difference
from deepfake_detector.registry.scores import Scores
from deepfake_detector.settings import Register


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
