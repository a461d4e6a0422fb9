"""Scores of faces (p_fake, 0..1) and thresholds -> verdict, word for the evidence and reasons in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from deepfake_detector.model.bundle import Thresholds
from deepfake_detector.scoring.fake_kind import say_kind
from deepfake_detector.scoring.verdict import Answer, Evidence, FaceVerdict, ImageVerdict, KindOfFake, ModelNamed

DRAWN_WARNING = (
    "this model was trained on the drawn sample, not on photographs: its answers about photographs mean little"
)
# From this probability upwards; the words are those of AFP and vera.ai.
WORDS: tuple[tuple[float, Evidence], ...] = ((0.9, "very strong"), (0.7, "strong"), (0.5, "moderate"), (0.0, "weak"))


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
    return next(word for least, word in WORDS if p_answer >= least)


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
