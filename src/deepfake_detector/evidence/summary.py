"""Findings -> the verdict on a model in a few plain sentences, each from a number."""

from __future__ import annotations

from deepfake_detector.evidence.findings import Findings
from deepfake_detector.evidence.robustness import ALL, worst

# AUC from which a word is used; the last is for whatever lies below.
GRADES = (
    (0.99, "very well"),
    (0.95, "well"),
    (0.85, "fairly well"),
    (0.7, "poorly"),
    (0.0, "hardly better than a coin"),
)
HARD = 0.1  # accuracy lost in its worst condition from which a model is said not to stand up to wear


def verdict(found: Findings) -> list[str]:
    """Say what a reader must know if he reads nothing else."""
    return [_separation(found), _thresholds(found), _wear(found), _probability(found), _looking(found), _goals(found)]


def _separation(found: Findings) -> str:
    test, auc = found.test, found.test.auc
    grade = next(word for least, word in GRADES if auc.low >= least)
    parts = [
        f"{each.name} {each.auc.value:.3f}" for each in found.of_facet("source") if each.auc
    ]  # fmt: skip
    by_source = f" By source: {', '.join(parts)}." if len(parts) > 1 else ""
    return (
        f"It tells fake from real faces {grade} on pictures like those it learnt from: AUC {auc}, accuracy "
        f"{test.accuracy} on {test.images} test pictures.{by_source}"
    )


def _thresholds(found: Findings) -> str:
    band = found.band
    return (
        f"It answers {band.coverage.value:.1%} of the pictures and is right in {band.accuracy.value:.1%} of these "
        f"answers; the others it calls inconclusive. At the threshold `flag` it finds {band.caught.value:.1%} of the "
        f"fakes and calls {band.false_alarms.value:.1%} of the real faces fake."
    )


def _wear(found: Findings) -> str:
    mean, hardest = found.grid.means[ALL], worst(found.grid.of(), 1)[0]
    lost = found.grid.of()[0].accuracy.value - hardest.accuracy.value
    how = "It does not stand up to wear" if lost > HARD else "It stands up to wear"
    return (
        f"{how}: accuracy is {mean.accuracy} on average when pictures are recompressed, resized, blurred or noisy, "
        f"and {hardest.accuracy.value:.3f} at its worst ({hardest.condition})."
    )


def _probability(found: Findings) -> str:
    after = found.test.ece
    word = "can be taken at its word" if after.high <= 0.05 else "is only a rough probability"
    return f"Its probability {word}: it is off by {after.value:.3f} on average, {after.low:.3f} to {after.high:.3f}."


def _looking(found: Findings) -> str:
    alarms = [probe.name for probe in found.alarms]
    asked = f"{len(found.probes)} probes of what it looks at raise "
    told = asked + (f"{len(alarms)} alarms: {', '.join(alarms)}." if alarms else "no alarm.")
    if found.explanation is None:
        return told + " It draws no heatmap."
    holds = "shows what decides" if found.explanation.holds else "is not shown to show what decides"
    return f"{told} Its heatmap {holds}."


def _goals(found: Findings) -> str:
    missed = [goal.name for goal in found.goals if not goal.met]
    if not missed:
        return f"All {len(found.goals)} goals are met."
    return f"{len(missed)} of {len(found.goals)} goals are missed: {'; '.join(missed)}."
