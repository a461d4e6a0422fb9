"""Scores of pictures and of changed copies (n,) -> shortcut probes: how much changes matter that must not matter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.config import Evaluate
from deepfake_detector.evaluation.metrics import CropScorer
from deepfake_detector.evaluation.source_metrics import SourceMetrics
from deepfake_detector.media.corruptions import affine
from deepfake_detector.preparation.shards import HeldOutSplit
from deepfake_detector.stats import (
    Estimate,
    Floats,
    Labels,
    estimate_auc,
    estimate_mean,
    estimate_proportion,
    percentile_interval,
    stratified_bootstrap,
)

Pixels = NDArray[np.uint8]
RESAMPLES = 1000
# Changes that leave a face as real or fake as it was; pixels from outside the crop are mirrored in.
TRANSFORMS: dict[str, Callable[[Pixels], Pixels]] = {
    "horizontal flip": lambda crop: np.ascontiguousarray(crop[:, ::-1]),
    "shift by 8 px": lambda crop: affine(crop, 0, 1, (8, 8)),
    "shift by -8 px": lambda crop: affine(crop, 0, 1, (-8, -8)),
    "rotation by 10 degrees": lambda crop: affine(crop, 10),
    "rotation by -10 degrees": lambda crop: affine(crop, -10),
    "scaling by 0.9": lambda crop: affine(crop, 0, 0.9),
    "scaling by 1.1": lambda crop: affine(crop, 0, 1.1),
}
# Half axes of the ellipse over brows, eyes, nose and mouth: in eye distances, in distances from eyes to mouth.
MASK_WIDTH, MASK_HEIGHT, MASK_BORDER = 0.95, 1.0, 0.1


@dataclass(frozen=True)
class ShortcutProbe:
    """What a change that must not matter does to the score.

    Attributes:
        code: identifies the probe.
        metric: what `value` measures, in words.
        passed: `value` is within `limit`.
        certain: so is, or is not, the whole interval.
        text: the finding in one sentence, for people.
    """

    code: str
    metric: str
    value: Estimate
    limit: float
    passed: bool
    certain: bool
    images: int
    text: str

    def as_dict(self) -> dict[str, object]:
        """For a JSON report."""
        return asdict(self)


def probe_recompression(before: Floats, after: Floats, labels: Labels, limit: float) -> ShortcutProbe:
    """Recompress both classes alike: if accuracy changes, the model relies on how the files were encoded.

    Args:
        before: (n,) p_fake of the pictures as they are.
        after: (n,) p_fake of the recompressed pictures.
        labels: (n,).
        limit: of the change of accuracy, in either direction.
    """
    gain = ((after >= 0.5) == labels).astype(float) - ((before >= 0.5) == labels)
    value = estimate_mean(gain)
    passed = abs(value.value) <= limit
    certain = max(-value.low, value.high) <= limit if passed else value.low > limit or value.high < -limit
    text = f"accuracy changes by {100 * value.value:+.1f} points when every picture is recompressed as JPEG 90"
    return ShortcutProbe("recompression", "change of accuracy", value, limit, passed, bool(certain), len(labels), text)


def probe_score_drift(code: str, before: Floats, after: Floats, limit: float) -> ShortcutProbe:
    """A change that leaves a face as real or fake as it was must leave its score as it was, too.

    Args:
        code: of the change.
        before: (n,) p_fake of the crops as they are.
        after: (n,) p_fake of the changed crops.
        limit: of the mean absolute change.
    """
    value = estimate_mean(np.abs(after - before))
    flipped = int(((after >= 0.5) != (before >= 0.5)).sum())
    text = f"p_fake changes by {value.value:.3f} on average; {flipped} of {len(before)} predictions change"
    return _at_most(code, "mean absolute change of p_fake", value, limit, len(before), text)


def probe_background(whole: Floats, background: Floats, face: Floats, labels: Labels, limit: float) -> ShortcutProbe:
    """The background must not separate the classes as well as the whole crop does.

    Args:
        whole: (n,) p_fake of the crops as they are.
        background: (n,) with the face covered.
        face: (n,) with everything but the face covered.
        labels: (n,) of both classes.
        limit: by which the AUC of the background must be lower than that of the whole crop.
    """
    scores = (whole, background, face)
    areas = [_auc_or_chance(p, labels) for p in scores]
    rows = stratified_bootstrap(labels, RESAMPLES, 0)
    replicates = np.array([[_auc_or_chance(p[i], labels[i]) for p in scores] for i in rows])
    value = percentile_interval(replicates[:, 0] - replicates[:, 1], areas[0] - areas[1])
    accuracy = [estimate_proportion(int(((p >= 0.5) == labels).sum()), len(labels)).value for p in scores]
    passed = value.value >= limit
    certain = value.low >= limit if passed else value.high < limit
    text = (
        f"AUC {areas[1]:.3f} of the background (face covered), {areas[2]:.3f} of the face (background covered), "
        f"{areas[0]:.3f} of the whole crop (accuracy {accuracy[1]:.3f}, {accuracy[2]:.3f}, {accuracy[0]:.3f})"
    )
    metric = "AUC of the whole crop minus AUC of the background"
    return ShortcutProbe("background", metric, value, limit, passed, bool(certain), len(labels), text)


def probe_false_positive_rates(sources: Sequence[SourceMetrics], limit: float) -> list[ShortcutProbe]:
    """The false positive rate at `flag` of every source with real pictures, and the mean of these sources."""
    known = [(each, each.false_positive_rate) for each in sources if each.false_positive_rate is not None]
    probes = [_false_positives(f"false positives: {each.name}", rate, limit, each.reals) for each, rate in known]
    if len(known) < 2:
        return probes
    values = np.array([rate.value for _, rate in known])
    margin = float(np.sqrt(sum(((rate.high - rate.low) / 2) ** 2 for _, rate in known))) / len(known)
    value = float(values.mean())
    mean = Estimate(value, max(0.0, value - margin), min(1.0, value + margin))
    reals = sum(each.reals for each, _ in known)
    return [*probes, _false_positives("false positives: mean of the sources", mean, limit, reals)]


def probe_crops(test: HeldOutSplit, p_fake: Floats, score: CropScorer, settings: Evaluate) -> list[ShortcutProbe]:
    """Transform crops in ways that must not matter, then cover the face or the background.

    Args:
        test: crops of both classes.
        p_fake: (n,) of the crops as they are.
        score: of the calibrated engine.
        settings: the limits.
    """
    drifts = [
        probe_score_drift(
            code, p_fake, score(np.stack([transform(crop) for crop in test.crops])), settings.max_score_drift
        )
        for code, transform in TRANSFORMS.items()
    ]
    background, face = (score(_cover(test, hide_face)) for hide_face in (True, False))
    return [*drifts, probe_background(p_fake, background, face, test.labels, settings.min_background_gap)]


def face_mask(landmarks_px: NDArray[np.float32], side_px: int) -> NDArray[np.float32]:
    """A soft mask (side, side), 1 over brows, eyes, nose and mouth, 0 around them.

    Args:
        landmarks_px: (5, 2) in an upright crop: two eyes, nose, two mouth corners.
        side_px: of the crop.
    """
    eyes, mouth = landmarks_px[:2].mean(axis=0), landmarks_px[3:].mean(axis=0)
    centre = (eyes + mouth) / 2
    half_axes = np.array([
        MASK_WIDTH * np.linalg.norm(landmarks_px[1] - landmarks_px[0]), MASK_HEIGHT * np.linalg.norm(mouth - eyes),
    ])  # fmt: skip
    rows, columns = np.mgrid[:side_px, :side_px] + 0.5
    radius = np.hypot((columns - centre[0]) / max(half_axes[0], 1), (rows - centre[1]) / max(half_axes[1], 1))
    return np.asarray(np.clip((1 + MASK_BORDER - radius) / MASK_BORDER, 0, 1), np.float32)


def _cover(test: HeldOutSplit, hide_face: bool) -> Pixels:
    """Crops whose face, or all but the face, is painted over with the mean colour of the visible part.

    The mean colour of the hidden part would reveal something of it.
    """
    return np.stack([
        _cover_crop(crop, face_mask(landmarks_px, crop.shape[0]), hide_face)
        for crop, landmarks_px in zip(test.crops, test.landmarks_px, strict=True)
    ])  # fmt: skip


def _cover_crop(crop: Pixels, mask: NDArray[np.float32], hide_face: bool) -> Pixels:
    hidden = (mask if hide_face else 1 - mask)[..., None]
    colour = (crop * (1 - hidden)).sum(axis=(0, 1)) / max(float((1 - hidden).sum()), 1e-6)
    return np.asarray(np.rint(crop * (1 - hidden) + colour * hidden), np.uint8)


def _false_positives(code: str, value: Estimate, limit: float, images: int) -> ShortcutProbe:
    text = f"{value.value:.1%} of the real faces score at or above `flag`"
    return _at_most(code, "false positive rate at `flag`", value, limit, images, text)


def _at_most(code: str, metric: str, value: Estimate, limit: float, images: int, text: str) -> ShortcutProbe:
    passed = value.value <= limit
    certain = value.high <= limit if passed else value.low > limit
    return ShortcutProbe(code, metric, value, limit, passed, bool(certain), images, text)


def _auc_or_chance(p_fake: Floats, labels: Labels) -> float:
    found = estimate_auc(p_fake, labels)
    return found.value if found else 0.5
