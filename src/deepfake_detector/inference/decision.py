"""Logits (n, k) of the kinds of fakes -> which kind a fake looks like: shares that add up to 1, and words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deepfake_detector.errors import BadInput
from deepfake_detector.inference.verdict import (
    Answer,
    Evidence,
    FaceVerdict,
    ImageVerdict,
    KindOfFake,
    ModelNamed,
    Posterior,
)
from deepfake_detector.model.bundle import Thresholds

Shares = Mapping[str, float]  # kind -> 0..1

# As the sentence needs them; a kind without a word goes by its own name.
WORDS = {"synthetic": "a generated face", "swap": "a face swap"}
# Twice as likely as all other kinds together; the shares are not calibrated, so nearer than that says nothing.
CLEAR_SHARE = 2 / 3


def kind_shares(logits: NDArray[np.float32], kinds: Sequence[str]) -> list[dict[str, float] | None]:
    """Softmax over the kinds: were the crop a fake, which one.

    Args:
        logits: (n, k), of each kind against "real".
        kinds: (k,), their names; a model that learnt one kind only cannot tell, hence None.
    """
    if len(kinds) < 2:
        return [None] * len(logits)
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares = odds / odds.sum(axis=1, keepdims=True)
    return [{kind: round(float(share), 4) for kind, share in zip(kinds, row, strict=True)} for row in shares]


def mean_shares(shares: Sequence[Shares | None], weights: Sequence[float]) -> dict[str, float] | None:
    """Shares of one face through time -> one; sightings that look real (small weight) say little of the kind."""
    known = [(each, weight) for each, weight in zip(shares, weights, strict=True) if each]
    total = sum(weight for _, weight in known)
    if total <= 0:
        return None
    kinds = list(known[0][0])
    return {kind: round(sum(each[kind] * weight for each, weight in known) / total, 4) for kind in kinds}


def leading(shares: Shares | None) -> tuple[str, float] | None:
    """The kind that it looks like and its share; None when that is unknown or unclear."""
    if not shares:
        return None
    kind = max(shares, key=lambda name: shares[name])
    return (kind, shares[kind]) if shares[kind] >= CLEAR_SHARE else None


def say_kind(shares: Shares | None) -> list[str]:
    """One sentence on the kind of a fake, with the number; [] where the model cannot tell kinds."""
    if not shares:
        return []
    found = leading(shares)
    if found is None:
        listed = ", ".join(f"{WORDS.get(kind, kind)} {share:.2f}" for kind, share in shares.items())
        return [f"which kind of fake it is stays unclear ({listed})"]
    kind, share = found
    others = " or ".join(WORDS.get(name, name) for name in shares if name != kind)
    return [f"it looks like {WORDS.get(kind, kind)} rather than {others} ({share:.2f})"]


CALIBRATED_SHARE = 0.5  # of fakes among the pictures that our models are calibrated on


def posterior(p_fake: float, prior: float, calibrated_share: float = CALIBRATED_SHARE) -> float:
    """Move a probability from the world it was calibrated in to another one, by Bayes' rule.

    A calibrated probability says how many of the pictures that score so are fakes *where the classes are mixed as they
    were in calibration*. Where fakes are rarer, so they are among the pictures with this score: with a prior of 0.0005
    a detector that is 99 % sure is right in 4.7 % of its alarms. Source: Saerens et al. 2002, "Adjusting the outputs of
    a classifier to new a priori probabilities".

    Args:
        p_fake: 0 to 1, calibrated.
        prior: 0 to 1, share of fakes among the pictures that are asked about.
        calibrated_share: above 0 and under 1, share of fakes among the pictures of the calibration.

    Returns:
        0 to 1; exactly 0 or 1 where `prior` is.

    Raises:
        ValueError: a share outside its range.
    """
    for name, value in (("p_fake", p_fake), ("prior", prior), ("calibrated_share", calibrated_share)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}, it must lie between 0 and 1")
    if calibrated_share in (0, 1):
        raise ValueError(f"calibrated_share is {calibrated_share}: nothing was calibrated on one class alone")
    if prior in (0, 1):
        return float(prior)
    if p_fake in (0, 1):
        return float(p_fake)
    log_odds = _logit(p_fake) + _logit(prior) - _logit(calibrated_share)
    return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0


def posterior_at(p_fake: float | None, prior: float | None) -> Posterior | None:
    """The part of an answer that a prior adds; None without a prior or a score.

    Raises:
        BadInput: the prior is no share between 0 and 1.
    """
    if prior is None:
        return None
    if not 0 < prior < 1:
        raise BadInput(
            f"the prior is {prior}", "give the share of fakes where the file comes from, above 0 and under 1"
        )
    return None if p_fake is None else Posterior(prior=prior, p_fake=posterior(p_fake, prior))


def _logit(p: float) -> float:
    return math.log(p) - math.log1p(-p)


DRAWN_WARNING = (
    "this model was trained on the drawn sample, not on photographs: its answers about photographs mean little"
)
# From this probability upwards; the words are those of AFP and vera.ai.
WORDS_DECISION: tuple[tuple[float, Evidence], ...] = (
    (0.9, "very strong"),
    (0.7, "strong"),
    (0.5, "moderate"),
    (0.0, "weak"),
)


def decide(p_fake: float | None, thresholds: Thresholds) -> Answer:
    """Turn the highest score into an answer: fake from `flag` upwards, real up to `clear`, else inconclusive.

    Where a good model's `clear` lies above its `flag`, `flag` is asked first.
    """
    if p_fake is None:
        return "inconclusive"
    if p_fake >= thresholds.flag:
        return "fake"
    return "real" if p_fake <= thresholds.clear else "inconclusive"


def weigh(verdict: Answer, p_fake: float | None) -> Evidence | None:
    """Put the probability of the answer given into a word; of an inconclusive one, the probability of a fake."""
    if p_fake is None:
        return None
    p_answer = 1.0 - p_fake if verdict == "real" else p_fake
    return next(word for least, word in WORDS_DECISION if p_answer >= least)


def image_verdict(faces: Sequence[FaceVerdict], model: ModelNamed) -> ImageVerdict:
    """Judge a picture by its most suspicious face; one that cannot be judged never gets a score."""
    scores = [face.p_fake for face in faces if face.p_fake is not None]
    p_fake = max(scores, default=None)
    kind = next((face.kind_of_fake for face in faces if p_fake is not None and face.p_fake == p_fake), None)
    verdict = decide(p_fake, model.thresholds)
    return ImageVerdict(
        verdict=verdict,
        p_fake=p_fake,
        evidence=weigh(verdict, p_fake),
        kind_of_fake=kind,
        reasons=(*warnings(model), *_image_reasons(verdict, scores, kind, faces, model.thresholds)),
        faces=tuple(faces),
        model=model,
    )


def warnings(model: ModelNamed) -> tuple[str, ...]:
    """What must be said before any other reason."""
    return (DRAWN_WARNING,) if model.trained_on == "drawn sample" else ()


def compare(verdict: Answer, p_fake: float, thresholds: Thresholds) -> str:
    """Say how a score stands to the thresholds, with the numbers."""
    clear, flag = f"{thresholds.clear:.3f}", f"{thresholds.flag:.3f}"
    if verdict == "fake":
        return f"{p_fake:.3f}, at or above {flag}, the mark from which a face is called fake"
    if verdict == "real":
        return f"{p_fake:.3f}, at or below {clear}, the mark up to which no trace of a fake is seen"
    return f"{p_fake:.3f}, between {clear} (no trace) and {flag} (fake): too close to call"


def unjudged(faces: Sequence[FaceVerdict]) -> list[str]:
    """Say how many faces could not be judged and why not, in one sentence, however many they are; [] if there are none.

    Args:
        faces: of a picture, largest first, or of all sampled frames of a clip.
    """
    problems = [face.problem for face in faces if face.problem]
    if not problems:
        return []
    example = problems[0] if len(set(problems)) == 1 else f"for example, {problems[0]}"
    return [f"{len(problems)} of {len(faces)} faces not judged: {example}"]


def _image_reasons(
    verdict: Answer,
    scores: Sequence[float],
    kind: KindOfFake,
    faces: Sequence[FaceVerdict],
    thresholds: Thresholds,
) -> list[str]:
    if not faces:
        return ["no face was found, and this model judges faces only"]
    reasons = []
    if scores:
        which = "the face" if len(faces) == 1 else f"the most suspicious of {len(scores)} judged faces"
        reasons.append(f"{which} scores {compare(verdict, max(scores), thresholds)}")
    if verdict == "fake":
        reasons += say_kind(kind)
        if len(scores) > 1:
            reasons.append(f"{sum(p >= thresholds.flag for p in scores)} of {len(scores)} judged faces reach that mark")
    return [*reasons, *unjudged(faces)]
