from __future__ import annotations

import pytest

from deepfake_detector.inference.decision import DRAWN_WARNING, decide, image_verdict, weigh
from deepfake_detector.inference.verdict import FaceVerdict, ModelNamed
from deepfake_detector.model.bundle import Thresholds

MARKS = Thresholds(clear=0.3, flag=0.7, strict=0.9)


def named(trained_on: str = "photographs") -> ModelNamed:
    return ModelNamed(sha256="a" * 64, run_id="run", trained_on=trained_on, network="tiny", thresholds=MARKS)


def face(p_fake: float | None, problem: str | None = None, swap: float | None = None) -> FaceVerdict:
    points = tuple((float(i), float(i)) for i in range(5))
    kind = None if swap is None else {"synthetic": round(1 - swap, 4), "swap": swap}
    return FaceVerdict(
        box_px=(1, 2, 80, 90), landmarks_px=points, score=0.9, p_fake=p_fake, kind_of_fake=kind, problem=problem
    )


def test_the_face_that_decides_says_which_kind_of_fake() -> None:
    answer = image_verdict([face(0.1, swap=0.2), face(0.95, swap=0.83), face(0.8, swap=0.3)], named())
    assert answer.kind_of_fake == {"synthetic": 0.17, "swap": 0.83}
    assert "it looks like a face swap rather than a generated face (0.83)" in answer.reasons


def test_of_what_is_not_called_fake_no_kind_is_said() -> None:
    answer = image_verdict([face(0.1, swap=0.83)], named())
    assert answer.kind_of_fake == {"synthetic": 0.17, "swap": 0.83}
    assert not any("swap" in reason for reason in answer.reasons)
    assert image_verdict([face(None, "too small")], named()).kind_of_fake is None


@pytest.mark.parametrize(
    ("p_fake", "answer"),
    [(0.0, "real"), (0.3, "real"), (0.3001, "inconclusive"), (0.6999, "inconclusive"), (0.7, "fake"), (1.0, "fake")],
)
def test_thresholds_belong_to_the_answer_they_name(p_fake: float, answer: str) -> None:
    assert decide(p_fake, MARKS) == answer


def test_without_a_score_nothing_is_decided() -> None:
    assert decide(None, MARKS) == "inconclusive"
    assert weigh("inconclusive", None) is None


def test_flag_is_asked_first_where_a_good_model_has_clear_above_flag() -> None:
    marks = Thresholds(clear=0.6, flag=0.4, strict=0.9)
    assert [decide(p, marks) for p in (0.39, 0.4, 0.5)] == ["real", "fake", "fake"]


@pytest.mark.parametrize(
    ("verdict", "p_fake", "word"),
    [
        ("fake", 0.49, "weak"),
        ("fake", 0.5, "moderate"),
        ("fake", 0.7, "strong"),
        ("fake", 0.9, "very strong"),
        ("real", 0.05, "very strong"),
        ("real", 0.25, "strong"),
        ("real", 0.55, "weak"),
        ("inconclusive", 0.4, "weak"),
        ("inconclusive", 0.6, "moderate"),
    ],
)
def test_the_word_weighs_the_answer_given(verdict: str, p_fake: float, word: str) -> None:
    assert weigh(verdict, p_fake) == word  # type: ignore[arg-type]


def test_one_fake_face_makes_the_picture_fake() -> None:
    answer = image_verdict([face(0.1), face(0.95), face(0.8)], named())
    assert (answer.verdict, answer.p_fake, answer.evidence) == ("fake", 0.95, "very strong")
    assert answer.reasons[0].startswith("the most suspicious of 3 judged faces scores 0.950, at or above 0.700")
    assert answer.reasons[1] == "2 of 3 judged faces reach that mark"


def test_all_faces_must_be_clear_for_real() -> None:
    assert image_verdict([face(0.1), face(0.2)], named()).verdict == "real"
    assert image_verdict([face(0.1), face(0.5)], named()).verdict == "inconclusive"


def test_a_picture_without_a_face_gets_a_reason_and_no_score() -> None:
    answer = image_verdict([], named())
    assert (answer.verdict, answer.p_fake, answer.evidence) == ("inconclusive", None, None)
    assert answer.reasons == ("no face was found, and this model judges faces only",)


def test_faces_that_cannot_be_judged_say_why_and_get_no_score() -> None:
    answer = image_verdict([face(None, "too small"), face(None, "turned away")], named())
    assert (answer.verdict, answer.p_fake) == ("inconclusive", None)
    assert answer.reasons == ("2 of 2 faces not judged: for example, too small",)


def test_a_crowd_that_cannot_be_judged_is_one_reason() -> None:
    answer = image_verdict([face(0.1)] + [face(None, "only the 1 largest")] * 99, named())
    assert answer.reasons[1:] == ("99 of 100 faces not judged: only the 1 largest",)


def test_an_unjudged_face_beside_a_judged_one_is_mentioned() -> None:
    answer = image_verdict([face(0.1), face(None, "too small")], named())
    assert answer.verdict == "real"
    assert answer.reasons[-1] == "1 of 2 faces not judged: too small"


@pytest.mark.parametrize("faces", [[], [face(0.9)]])
def test_a_model_of_the_drawn_sample_warns_first_and_decides_all_the_same(faces: list[FaceVerdict]) -> None:
    drawn, plain = image_verdict(faces, named("drawn sample")), image_verdict(faces, named())
    assert drawn.reasons == (DRAWN_WARNING, *plain.reasons)
    assert drawn.verdict == plain.verdict
