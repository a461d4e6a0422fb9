"""Scores of faces and logits (n, k) of the kinds of fakes -> verdict, evidence level, posterior, reasons in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import BadInput
from deepfake_detector.inference.verdict import (
    EvidenceLevel,
    FaceVerdict,
    ImageVerdict,
    KindOfFake,
    Label,
    ModelInfo,
    Posterior,
    TrackVerdict,
    VideoFaceVerdict,
)
from deepfake_detector.model.bundle_contract import Medium, MediumCoverage, Thresholds

KindShares = Mapping[str, float]  # kind -> 0..1
Scored = TypeVar("Scored", FaceVerdict, VideoFaceVerdict, TrackVerdict)

# Lowest probability of each level; the words are those of AFP and vera.ai.
EVIDENCE_LEVELS: tuple[tuple[float, EvidenceLevel], ...] = (
    (0.9, "very strong"),
    (0.7, "strong"),
    (0.5, "moderate"),
    (0.0, "weak"),
)
# For sentences; a kind that is missing here is called by its own name.
KIND_NAMES = {"synthetic": "a generated face", "swap": "a face swap"}
# Twice as likely as all other kinds together. The shares are not calibrated: below this they say nothing.
CLEAR_SHARE = 2 / 3
# For sentences: the files, and those with a known answer on which coverage was measured.
MEDIUM_NAMES: dict[Medium, tuple[str, str]] = {
    "image": ("pictures", "test pictures"),
    "video": ("videos", "videos with a known answer"),
}
# What the face detector misses is not absent.
NO_FACE = "no clearly visible face was found (covered, masked, small and turned faces are missed)"
MAX_UPRIGHT_ROLL_DEG = 60  # a head leaning further lies
CALIBRATION_PRIOR = 0.5  # share of fakes among the pictures that our models are calibrated on
DRAWN_SAMPLE_WARNING = (
    "this model was trained on the drawn sample, not on photographs: its answers about photographs mean little"
)


def image_verdict(
    faces: Sequence[FaceVerdict], model: ModelInfo, notes: Sequence[str] = (), coverage: MediumCoverage | None = None
) -> ImageVerdict:
    """Decide about an image by its face with the highest score; without a scored face it gets no score.

    Args:
        faces: of the image, largest first.
        model: that scored them.
        notes: what was left out of the image; the last reasons.
        coverage: of pictures, as measured; None if it was not.
    """
    scores = [face.p_fake for face in faces if face.p_fake is not None]
    p_fake = max(scores, default=None)
    verdict = decide(p_fake, model.thresholds)
    faces = [without_kind_if_real(face, model.thresholds) for face in faces]
    kind = next((face.kind_of_fake for face in faces if p_fake is not None and face.p_fake == p_fake), None)
    known = describe_coverage(coverage, "image") if scores else []
    reasons = _image_reasons(verdict, scores, kind, faces, model.thresholds)
    return ImageVerdict(
        verdict=verdict,
        p_fake=p_fake,
        evidence=evidence_level(verdict, p_fake),
        kind_of_fake=kind,
        reasons=(*model_warnings(model), *reasons, *known, *notes),
        faces=tuple(faces),
        model=model,
    )


def decide(p_fake: float | None, thresholds: Thresholds) -> Label:
    """Turn the highest score into a label: fake from `flag` upwards, real up to `clear`, else inconclusive.

    Where both thresholds are equal nothing is inconclusive, and a score that reaches them is a fake.
    """
    if p_fake is None:
        return "inconclusive"
    if p_fake >= thresholds.flag:
        return "fake"
    return "real" if p_fake <= thresholds.clear else "inconclusive"


def without_kind_if_real(face: Scored, thresholds: Thresholds) -> Scored:
    """A face or track, without its kind of fake if its own score calls it real: the shares say nothing then."""
    is_real = decide(face.p_fake, thresholds) == "real"
    return face.model_copy(update={"kind_of_fake": None}) if is_real else face


def evidence_level(verdict: Label, p_fake: float | None) -> EvidenceLevel | None:
    """Put the probability of a fake into words; a real verdict has no level, because it rests on the lack of traces."""
    if p_fake is None:
        return None
    if verdict == "real":
        return "no trace found"
    return next(level for lowest, level in EVIDENCE_LEVELS if p_fake >= lowest)


def kind_shares(logits: NDArray[np.float32], kinds: Sequence[str]) -> list[dict[str, float] | None]:
    """Softmax over the kinds: which kind of fake each crop would be, if it were one.

    Args:
        logits: (n, k), of each kind against "real".
        kinds: (k,), their names; a model trained on a single kind cannot tell kinds apart, hence None.
    """
    if len(kinds) < 2:
        return [None] * len(logits)
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares = odds / odds.sum(axis=1, keepdims=True)
    return [{kind: round(float(share), 4) for kind, share in zip(kinds, row, strict=True)} for row in shares]


def mean_kind_shares(shares: Sequence[KindShares | None], weights: Sequence[float]) -> dict[str, float] | None:
    """Weighted mean of the shares of one face over time; None without weight.

    Args:
        shares: of each frame.
        weights: of each frame: its p_fake, as a frame that looks real says little about the kind.
    """
    known = [(each, weight) for each, weight in zip(shares, weights, strict=True) if each]
    total = sum(weight for _, weight in known)
    if total <= 0:
        return None
    kinds = list(known[0][0])
    return {kind: round(sum(each[kind] * weight for each, weight in known) / total, 4) for kind in kinds}


def likely_kind(shares: KindShares | None) -> tuple[str, float] | None:
    """The most likely kind and its share; None where the model cannot tell or no kind reaches `CLEAR_SHARE`."""
    if not shares:
        return None
    kind = max(shares, key=lambda name: shares[name])
    return (kind, shares[kind]) if shares[kind] >= CLEAR_SHARE else None


def posterior(p_fake: float, prior: float, calibration_prior: float = CALIBRATION_PRIOR) -> float:
    """Adjust a calibrated probability to another share of fakes, by Bayes' rule.

    A calibrated probability says how many of the pictures with this score are fakes *where the classes are mixed as in
    the calibration data*. Where fakes are rarer, they are also rarer among the pictures with this score: with a prior
    of 0.0005 a detector that is 99 % sure is right in 4.7 % of its alarms. Source: Saerens et al. 2002, "Adjusting the
    outputs of a classifier to new a priori probabilities".

    Args:
        p_fake: 0 to 1, calibrated.
        prior: 0 to 1, share of fakes where the file comes from.
        calibration_prior: above 0 and under 1, share of fakes in the calibration data.

    Returns:
        0 to 1; exactly 0 or 1 where `prior` is.

    Raises:
        ValueError: a share outside its range.
    """
    for name, value in (("p_fake", p_fake), ("prior", prior), ("calibration_prior", calibration_prior)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}, it must lie between 0 and 1")
    if calibration_prior in (0, 1):
        raise ValueError(f"calibration_prior is {calibration_prior}: a calibration needs both classes")
    if prior in (0, 1):
        return float(prior)
    if p_fake in (0, 1):
        return float(p_fake)
    log_odds = _logit(p_fake) + _logit(prior) - _logit(calibration_prior)
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0


def _logit(p: float) -> float:
    return math.log(p) - math.log1p(-p)


def posterior_verdict(p_fake: float | None, prior: float | None) -> Posterior | None:
    """The part of an answer that a prior adds; None without a prior or a score.

    Raises:
        BadInput: the prior does not lie between 0 and 1; also without a score.
    """
    if prior is None:
        return None
    if not 0 < prior < 1:
        raise BadInput(
            f"the prior is {prior}", "give the share of fakes where the file comes from, above 0 and under 1"
        )
    return None if p_fake is None else Posterior(prior=prior, p_fake=posterior(p_fake, prior))


def model_warnings(model: ModelInfo) -> tuple[str, ...]:
    """Reasons that come before all others."""
    return (DRAWN_SAMPLE_WARNING,) if model.trained_on == "drawn sample" else ()


def compare_to_thresholds(verdict: Label, p_fake: float, thresholds: Thresholds) -> str:
    """Say where a score lies relative to the thresholds, with the numbers."""
    clear, flag = f"{thresholds.clear:.3f}", f"{thresholds.flag:.3f}"
    if verdict == "fake":
        return f"{p_fake:.3f}, at or above {flag}, the threshold for fake"
    if verdict == "real":
        return f"{p_fake:.3f}, at or below {clear}: no trace of manipulation was found"
    return f"{p_fake:.3f}, between {clear} (no trace) and {flag} (fake): too close to call"


def describe_kind(shares: KindShares | None) -> list[str]:
    """One sentence about the kind of a fake, with the number; [] where the model cannot tell kinds apart."""
    if not shares:
        return []
    likely = likely_kind(shares)
    if likely is None:
        listed = ", ".join(f"{KIND_NAMES.get(kind, kind)} {share:.2f}" for kind, share in shares.items())
        return [f"the kind of fake is unclear ({listed})"]
    kind, share = likely
    others = " or ".join(KIND_NAMES.get(name, name) for name in shares if name != kind)
    return [f"it looks like {KIND_NAMES.get(kind, kind)} rather than {others} ({share:.2f})"]


def describe_coverage(coverage: MediumCoverage | None, medium: Medium) -> list[str]:
    """One sentence about how often such files are decided, and how often rightly; [] where it was not measured."""
    if coverage is None or coverage.all.files == 0:
        return []
    name, measured_on = MEDIUM_NAMES[medium]
    all_files = coverage.all
    rightly = "" if all_files.right is None else f", {all_files.right:.0%} of these rightly"
    return [f"of {name} like this {all_files.decided:.0%} are decided{rightly} ({all_files.files:,} {measured_on})"]


def describe_unscored_faces(faces: Sequence[FaceVerdict]) -> list[str]:
    """One sentence that counts the faces without a score and gives a reason; [] if there are none.

    Args:
        faces: of an image, largest first, or of all sampled frames of a video.
    """
    problems = [face.problem for face in faces if face.problem]
    if not problems:
        return []
    example = problems[0] if len(set(problems)) == 1 else f"for example, {problems[0]}"
    return [f"{len(problems)} of {len(faces)} faces not scored: {example}"]


def describe_turned_faces(faces: Sequence[FaceVerdict]) -> list[str]:
    """One sentence about faces that lie on their side or upside down; [] if all are upright."""
    count = sum(abs(_roll_deg(face)) > MAX_UPRIGHT_ROLL_DEG for face in faces)
    if not count:
        return []
    which = "the face lies" if len(faces) == 1 else f"{count} of {len(faces)} faces lie"
    return [f"{which} on the side or upside down; scored after turning upright"]


def _roll_deg(face: FaceVerdict) -> float:
    """Angle between the line from eyes to mouth and the downward direction; 0 upright, 180 upside down."""
    eye, other_eye, _, mouth, other_mouth = face.landmarks_px
    right = mouth[0] + other_mouth[0] - eye[0] - other_eye[0]
    down = mouth[1] + other_mouth[1] - eye[1] - other_eye[1]
    return math.degrees(math.atan2(right, down)) if right or down else 0.0


def _image_reasons(
    verdict: Label,
    scores: Sequence[float],
    kind: KindOfFake,
    faces: Sequence[FaceVerdict],
    thresholds: Thresholds,
) -> list[str]:
    if not faces:
        return [f"{NO_FACE}, and this model scores faces only"]
    reasons = []
    if scores:
        which = "the face" if len(faces) == 1 else f"the most suspicious of {len(scores)} scored faces"
        reasons.append(f"{which} scores {compare_to_thresholds(verdict, max(scores), thresholds)}")
    if verdict == "fake":
        reasons += describe_kind(kind)
        if len(scores) > 1:
            count = sum(p >= thresholds.flag for p in scores)
            reasons.append(f"{count} of {len(scores)} scored faces reach that threshold")
    return [*reasons, *describe_unscored_faces(faces), *describe_turned_faces(faces)]
