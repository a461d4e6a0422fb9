"""Scores of the same pictures, changed and unchanged -> probes: what must not matter, how much it does, alarms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.config import Evaluate
from deepfake_detector.evaluation.corruption_evaluation import Score
from deepfake_detector.evaluation.faithfulness import Explanation, explain
from deepfake_detector.evaluation.slices import Slice
from deepfake_detector.media.corruptions import blur, turn
from deepfake_detector.preparation.shards import Held
from deepfake_detector.stats import Estimate, Floats, Labels, auc, between, draw, mean, share

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


Pixels = NDArray[np.uint8]
# What a face is as real or fake after as before; what comes in from outside is the mirror image.
CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "flipped": lambda crop: np.ascontiguousarray(crop[:, ::-1]),
    "shifted 8 px right and down": lambda crop: turn(crop, 0, 1, (8, 8)),
    "shifted 8 px left and up": lambda crop: turn(crop, 0, 1, (-8, -8)),
    "turned by 10 degrees": lambda crop: turn(crop, 10),
    "turned by -10 degrees": lambda crop: turn(crop, -10),
    "scaled by 0.9": lambda crop: turn(crop, 0, 0.9),
    "scaled by 1.1": lambda crop: turn(crop, 0, 1.1),
}
# Half axes of the ellipse over brows, eyes, nose and mouth: in eye distances, in distances from eyes to mouth.
CORE_WIDTH, CORE_HEIGHT, CORE_BORDER = 0.95, 1.0, 0.1
BLURRED_AWAY = 16  # sigma is the side over this: 8 px of 128, where no trace of an encoder or a generator survives


def probe_crops(test: Held, p_fake: NDArray[np.float64], score: Score, how: Evaluate) -> list[Probe]:
    """Change crops in ways that must not matter, and cover their parts.

    Args:
        test: crops of both classes.
        p_fake: (n,) of the crops as they are.
        score: of the calibrated engine.
        how: the limits.
    """
    drifts = [
        probe_drift(name, p_fake, score(np.stack([change(crop) for crop in test.crops])), how.max_score_drift)
        for name, change in CHANGES.items()
    ]
    background, face = (score(_covered(test, inside)) for inside in (True, False))
    labels = test.labels
    return [*drifts, probe_background(p_fake, background, face, labels, how.min_background_gap)]


def check_explanation(crops: Pixels, maps: NDArray[np.float32], score: Score, seed: int) -> Explanation | None:
    """Deletion and insertion; None where a map has one cell and shows nothing, or there is nothing to compare.

    Args:
        crops: (n, side, side, 3).
        maps: (n, h, w) that the engine drew for them.
        score: of the calibrated engine.
        seed: of the random order.
    """
    if len(crops) < 2 or maps[0].size < 2:
        return None
    blurred = np.stack([blur(crop, crop.shape[0] / BLURRED_AWAY) for crop in crops])
    return explain(crops, blurred, maps, score, seed)


def face_core(landmarks_px: NDArray[np.float32], side_px: int) -> NDArray[np.float32]:
    """A soft mask (side, side), 1 over brows, eyes, nose and mouth, 0 over what surrounds them.

    Args:
        landmarks_px: (5, 2) in an upright crop: two eyes, nose, two mouth corners.
        side_px: of the crop.
    """
    eyes, mouth = landmarks_px[:2].mean(axis=0), landmarks_px[3:].mean(axis=0)
    middle = (eyes + mouth) / 2
    half = np.array([
        CORE_WIDTH * np.linalg.norm(landmarks_px[1] - landmarks_px[0]), CORE_HEIGHT * np.linalg.norm(mouth - eyes),
    ])  # fmt: skip
    rows, columns = np.mgrid[:side_px, :side_px] + 0.5
    far = np.hypot((columns - middle[0]) / max(half[0], 1), (rows - middle[1]) / max(half[1], 1))
    return np.asarray(np.clip((1 + CORE_BORDER - far) / CORE_BORDER, 0, 1), np.float32)


def _covered(test: Held, inside: bool) -> Pixels:
    """Crops whose face, or all but the face, is painted over with the mean colour of what stays to be seen.

    The mean colour of what is hidden would tell of it.
    """
    return np.stack([_cover(crop, face_core(place, crop.shape[0]), inside)
                     for crop, place in zip(test.crops, test.landmarks_px, strict=True)])  # fmt: skip


def _cover(crop: Pixels, core: NDArray[np.float32], inside: bool) -> Pixels:
    hidden = (core if inside else 1 - core)[..., None]
    colour = (crop * (1 - hidden)).sum(axis=(0, 1)) / max(float((1 - hidden).sum()), 1e-6)
    return np.asarray(np.rint(crop * (1 - hidden) + colour * hidden), np.uint8)
