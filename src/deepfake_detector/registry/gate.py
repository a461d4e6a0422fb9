"""Candidate's and champion's scores on the test pictures (n,) -> promote or not, with reasons. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.settings import Register

RESAMPLES = 1000
SEED = 20261122


@dataclass(frozen=True)
class Scores:
    """How one model judged one set of test pictures, always in the same order of pictures."""

    labels: NDArray[np.int64]  # (n,), 1 = fake
    p_fake: NDArray[np.float64]  # (n,), 0..1
    accuracy: float  # 0..1, at the model's own threshold
    test_digest: str
    trained_on: str
    bundle_sha256: str


@dataclass(frozen=True)
class Decision:
    """What to do with a candidate, why in words, and the numbers behind the words."""

    promote: bool
    reasons: tuple[str, ...]
    figures: dict[str, float] = field(default_factory=dict)


def decide(candidate: Scores, champion: Scores | None, settings: Register) -> Decision:
    """Judge whether a candidate becomes champion.

    Scores on different test pictures cannot be compared, and a model of drawn faces is not rival to one of
    photographs: then the candidate, which answers what params.yaml asks for now, is taken.
    """
    if champion is not None and champion.bundle_sha256 == candidate.bundle_sha256:
        return Decision(False, ("the candidate is the champion already",))
    floor = f"accuracy {candidate.accuracy:.4f}, at least {settings.min_accuracy:g} asked for (register.min_accuracy)"
    if candidate.accuracy < settings.min_accuracy:
        return Decision(False, (f"refused: {floor}",), {"accuracy": candidate.accuracy})
    if champion is None:
        return Decision(True, (floor, "there was no champion"), {"accuracy": candidate.accuracy})
    if reason := _not_comparable(candidate, champion):
        return Decision(True, (floor, reason), {"accuracy": candidate.accuracy})
    return _compare(candidate, champion, settings, floor)


def _not_comparable(candidate: Scores, champion: Scores) -> str:
    kept = "the candidate answers what params.yaml asks for now; the old champion stays as `previous`"
    if candidate.trained_on != champion.trained_on:
        return f"trained on another kind of data ({candidate.trained_on}, before: {champion.trained_on}): {kept}"
    same = candidate.test_digest == champion.test_digest and np.array_equal(candidate.labels, champion.labels)
    return "" if same else f"the test pictures are not the champion's, so the figures do not compare: {kept}"


def _compare(candidate: Scores, champion: Scores, settings: Register, floor: str) -> Decision:
    """Point estimate against the tolerance: a wide interval must not let a worse model through, nor stop a better."""
    ours, theirs = (area_under_roc(s.labels, s.p_fake) for s in (candidate, champion))
    low, high = difference_interval(candidate.labels, candidate.p_fake, champion.p_fake)
    promote = bool(ours - theirs >= -settings.max_auc_loss)
    comparison = (
        f"AUC {ours:.4f} against the champion's {theirs:.4f} on the same {len(candidate.labels)} test pictures: "
        f"difference {ours - theirs:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"
    )
    verdict = f"{'within' if promote else 'refused: outside'} the loss of {settings.max_auc_loss:g} that is accepted"
    figures = {"accuracy": candidate.accuracy, "auc": ours, "auc_champion": theirs, "auc_low": low, "auc_high": high}
    return Decision(promote, (floor, comparison, f"{verdict} (register.max_auc_loss)"), figures)


def area_under_roc(labels: NDArray[np.int64], p_fake: NDArray[np.float64]) -> float:
    """Area under the ROC curve: the share of (fake, real) pairs in the right order, ties counting half.

    Args:
        labels: (n,), 1 = fake; both classes must occur.
        p_fake: (n,), any increasing score.
    """
    return _area(labels, _ranks(p_fake), np.ones(len(labels)))


def _ranks(p_fake: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,), 0 for the lowest score; equal scores share a rank."""
    return np.unique(p_fake, return_inverse=True)[1].astype(np.int64)


def _area(labels: NDArray[np.int64], ranks: NDArray[np.int64], counts: NDArray[np.float64]) -> float:
    fakes = np.bincount(ranks, weights=counts * labels)
    reals = np.bincount(ranks, weights=counts * (1 - labels))
    reals_below = np.cumsum(reals) - reals
    return float(np.sum(fakes * (reals_below + reals / 2)) / (fakes.sum() * reals.sum()))


def difference_interval(
    labels: NDArray[np.int64], ours: NDArray[np.float64], theirs: NDArray[np.float64]
) -> tuple[float, float]:
    """95 % interval of the difference of two AUCs on the same pictures: paired bootstrap, class by class.

    Drawing the same pictures for both models takes out what the pictures themselves contribute (Efron 1979; for
    ROC areas Hanley and McNeil 1983 show how large that shared part is).
    """
    random = np.random.default_rng(SEED)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    ranks = _ranks(ours), _ranks(theirs)  # sorted once: 1000 sorts of 20,000 scores would take seconds
    differences = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        drawn = np.concatenate([random.choice(members, len(members)) for members in classes])
        counts = np.bincount(drawn, minlength=len(labels)).astype(np.float64)
        differences[i] = _area(labels, ranks[0], counts) - _area(labels, ranks[1], counts)
    low, high = np.quantile(differences, (0.025, 0.975))
    return float(low), float(high)
