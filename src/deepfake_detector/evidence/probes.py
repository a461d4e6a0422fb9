"""Scores of the same pictures, changed and unchanged -> probes: what must not matter, how much it does, alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from deepfake_detector.evidence.estimate import Estimate, Floats, Labels, auc, between, draw, mean, share
from deepfake_detector.evidence.slices import Slice

RESAMPLES = 1000


@dataclass(frozen=True)
class Probe:
    """One question about what a detector looks at.

    Attributes:
        figure: what `value` is, in words.
        limit: beyond it is an alarm.
        certain: the whole interval lies on the same side of the limit as the value.
        told: the answer in one sentence.
    """

    name: str
    figure: str
    value: Estimate
    limit: float
    alarm: bool
    certain: bool
    images: int
    told: str

    def as_dict(self) -> dict[str, object]:
        """For a JSON report."""
        return asdict(self)


def probe_resaving(before: Floats, after: Floats, labels: Labels, limit: float) -> Probe:
    """Both classes saved again alike: accuracy must not move, else the model knows the file's history.

    Args:
        before: (n,) p_fake of the pictures as they are.
        after: (n,) p_fake of the same, saved again.
        labels: (n,).
        limit: of the change of accuracy, either way.
    """
    gain = ((after >= 0.5) == labels).astype(float) - ((before >= 0.5) == labels)
    value = mean(gain)
    alarm = abs(value.value) > limit
    certain = value.low > limit or value.high < -limit if alarm else max(-value.low, value.high) <= limit
    told = f"accuracy moves by {100 * value.value:+.1f} points when every picture is saved again as JPEG 90"
    return Probe("saved again", "change of accuracy", value, limit, alarm, bool(certain), len(labels), told)


def probe_drift(name: str, before: Floats, after: Floats, limit: float) -> Probe:
    """A change that leaves a face as real or fake as it was must leave its score, too.

    Args:
        name: of the change, for people.
        before: (n,) p_fake of the crops as they are.
        after: (n,) p_fake of the same, changed.
        limit: of the mean distance.
    """
    value = mean(np.abs(after - before))
    flipped = int(((after >= 0.5) != (before >= 0.5)).sum())
    alarm = value.value > limit
    certain = value.low > limit if alarm else value.high <= limit
    told = f"p_fake moves by {value.value:.3f} on average; {flipped} of {len(before)} answers change sides"
    return Probe(name, "mean change of p_fake", value, limit, alarm, bool(certain), len(before), told)


def probe_background(whole: Floats, background: Floats, face: Floats, labels: Labels, limit: float) -> Probe:
    """What lies around a face must not give it away as well as the face does.

    Args:
        whole: (n,) p_fake of the crops as they are.
        background: (n,) with the face covered.
        face: (n,) with everything but the face covered.
        labels: (n,) of both classes.
        limit: AUC that the background must lie behind the whole crop.
    """
    scores = (whole, background, face)
    areas = [_area(p, labels) for p in scores]
    drawn = np.array([[_area(p[i], labels[i]) for p in scores] for i in draw(labels, RESAMPLES, 0)])
    value = between(drawn[:, 0] - drawn[:, 1], areas[0] - areas[1])
    right = [share(int(((p >= 0.5) == labels).sum()), len(labels)).value for p in scores]
    alarm = value.value < limit
    certain = value.high < limit if alarm else value.low >= limit
    told = (
        f"AUC {areas[1]:.3f} with the face covered, {areas[2]:.3f} with all but the face covered, {areas[0]:.3f} "
        f"uncovered (accuracy {right[1]:.3f}, {right[2]:.3f}, {right[0]:.3f})"
    )
    name = "background only, face only"
    return Probe(name, "AUC of the whole less that of the background", value, limit, alarm, bool(certain),
                 len(labels), told)  # fmt: skip


def probe_false_alarms(slices: Sequence[Slice], limit: float) -> list[Probe]:
    """Real faces called fake at `flag`, source by source, and the mean of the sources."""
    known = [(each, each.false_alarms) for each in slices if each.facet == "source" and each.false_alarms]
    probes = [
        _false_alarms(f"real faces of {each.name}", value, limit, each.reals) for each, value in known
    ]  # fmt: skip
    if len(known) < 2:
        return probes
    values = np.array([value.value for _, value in known])
    reach = float(np.sqrt(sum(((value.high - value.low) / 2) ** 2 for _, value in known))) / len(known)
    middle = float(values.mean())
    both = Estimate(middle, max(0.0, middle - reach), min(1.0, middle + reach))
    return [*probes, _false_alarms("real faces, mean of the sources", both, limit, sum(e.reals for e, _ in known))]


def _false_alarms(name: str, value: Estimate, limit: float, images: int) -> Probe:
    alarm = value.value > limit
    certain = value.low > limit if alarm else value.high <= limit
    told = f"{value.value:.1%} of real faces are called fake"
    return Probe(name, "false alarms at `flag`", value, limit, alarm, certain, images, told)


def _area(p_fake: Floats, labels: Labels) -> float:
    found = auc(p_fake, labels)
    return found.value if found else 0.5
