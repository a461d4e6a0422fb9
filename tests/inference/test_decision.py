from __future__ import annotations

import numpy as np
import pytest

from deepfake_detector.errors import BadInput
from deepfake_detector.inference.decision import (
    DRAWN_SAMPLE_WARNING,
    NO_FACE,
    decide,
    describe_kind,
    evidence_level,
    image_verdict,
    kind_shares,
    likely_kind,
    mean_kind_shares,
    posterior,
    posterior_verdict,
)
from deepfake_detector.inference.verdict import FaceVerdict, Label, ModelInfo
from deepfake_detector.model.bundle_contract import Coverage, MediumCoverage, Thresholds

THRESHOLDS = Thresholds(clear=0.3, flag=0.7, strict=0.9)
KINDS = ("synthetic", "swap")


def model(trained_on: str = "photographs") -> ModelInfo:
    return ModelInfo(sha256="a" * 64, run_id="run", trained_on=trained_on, network="tiny", thresholds=THRESHOLDS)


def face(p_fake: float | None, problem: str | None = None, swap: float | None = None) -> FaceVerdict:
    points = tuple((float(i), float(i)) for i in range(5))
    kind = None if swap is None else {"synthetic": round(1 - swap, 4), "swap": swap}
    return FaceVerdict(
        box_px=(1, 2, 80, 90), landmarks_px=points, score=0.9, p_fake=p_fake, kind_of_fake=kind, problem=problem
    )


# Thresholds and evidence levels


@pytest.mark.parametrize(
    ("p_fake", "label"),
    [(0.0, "real"), (0.3, "real"), (0.3001, "inconclusive"), (0.6999, "inconclusive"), (0.7, "fake"), (1.0, "fake")],
)
def test_a_score_at_a_threshold_gets_its_label(p_fake: float, label: str) -> None:
    assert decide(p_fake, THRESHOLDS) == label


def test_without_a_score_the_label_is_inconclusive() -> None:
    assert decide(None, THRESHOLDS) == "inconclusive"
    assert evidence_level("inconclusive", None) is None


@pytest.mark.parametrize(
    ("verdict", "p_fake", "level"),
    [
        ("fake", 0.49, "weak"),
        ("fake", 0.5, "moderate"),
        ("fake", 0.7, "strong"),
        ("fake", 0.9, "very strong"),
        ("real", 0.05, "no trace found"),
        ("real", 0.55, "no trace found"),
        ("inconclusive", 0.4, "weak"),
        ("inconclusive", 0.6, "moderate"),
    ],
)
def test_the_evidence_level_follows_the_probability_of_a_fake(verdict: Label, p_fake: float, level: str) -> None:
    assert evidence_level(verdict, p_fake) == level


# Images


def test_one_fake_face_makes_the_image_fake() -> None:
    answer = image_verdict([face(0.1), face(0.95), face(0.8)], model())
    assert (answer.verdict, answer.p_fake, answer.evidence) == ("fake", 0.95, "very strong")
    assert answer.reasons[0].startswith("the most suspicious of 3 scored faces scores 0.950, at or above 0.700")
    assert answer.reasons[1] == "2 of 3 scored faces reach that threshold"


def test_an_image_is_real_only_if_all_faces_are() -> None:
    assert image_verdict([face(0.1), face(0.2)], model()).verdict == "real"
    assert image_verdict([face(0.1), face(0.5)], model()).verdict == "inconclusive"


def test_an_image_without_a_face_gets_a_reason_and_no_score() -> None:
    answer = image_verdict([], model())
    assert (answer.verdict, answer.p_fake, answer.evidence) == ("inconclusive", None, None)
    assert answer.reasons == (f"{NO_FACE}, and this model scores faces only",)
    assert "masked" in NO_FACE


def test_unscored_faces_give_a_reason_and_no_score() -> None:
    answer = image_verdict([face(None, "too small"), face(None, "turned away")], model())
    assert (answer.verdict, answer.p_fake) == ("inconclusive", None)
    assert answer.reasons == ("2 of 2 faces not scored: for example, too small",)


def test_many_unscored_faces_are_one_reason() -> None:
    answer = image_verdict([face(0.1)] + [face(None, "only the 1 largest")] * 99, model())
    assert answer.reasons[1:] == ("99 of 100 faces not scored: only the 1 largest",)


def test_an_unscored_face_beside_a_scored_one_is_mentioned() -> None:
    answer = image_verdict([face(0.1), face(None, "too small")], model())
    assert answer.verdict == "real"
    assert answer.reasons[-1] == "1 of 2 faces not scored: too small"


@pytest.mark.parametrize("faces", [[], [face(0.9)]])
def test_a_model_of_the_drawn_sample_warns_first_and_decides_alike(faces: list[FaceVerdict]) -> None:
    drawn, plain = image_verdict(faces, model("drawn sample")), image_verdict(faces, model())
    assert drawn.reasons == (DRAWN_SAMPLE_WARNING, *plain.reasons)
    assert drawn.verdict == plain.verdict


def test_measured_coverage_is_a_reason_where_a_face_was_scored() -> None:
    coverage = MediumCoverage(all=Coverage(files=2188, decided=0.7, right=0.97))
    sentence = "of pictures like this 70% are decided, 97% of these rightly (2,188 test pictures)"
    answer, without = image_verdict([face(0.1)], model(), ["a note"], coverage), image_verdict([face(0.1)], model())
    assert answer.reasons == (*without.reasons, sentence, "a note")
    assert sentence not in image_verdict([face(None, "too small")], model(), (), coverage).reasons
    nothing_decided = MediumCoverage(all=Coverage(files=10, decided=0.0, right=None))
    assert image_verdict([face(0.1)], model(), (), nothing_decided).reasons[-1] == (
        "of pictures like this 0% are decided (10 test pictures)"
    )
    assert (
        image_verdict([face(0.1)], model(), (), MediumCoverage(all=Coverage(files=0, decided=0, right=None))) == without
    )


# Kinds of fakes


def test_kind_shares_are_the_softmax_whatever_the_level_of_the_logits() -> None:
    logits = np.array([[0.0, 0.0], [-1.0, np.log(3) - 1], [500.0, 0.0], [-500.0, -500.0]], np.float32)
    assert kind_shares(logits, KINDS) == [
        {"synthetic": 0.5, "swap": 0.5},
        {"synthetic": 0.25, "swap": 0.75},
        {"synthetic": 1.0, "swap": 0.0},
        {"synthetic": 0.5, "swap": 0.5},
    ]


def test_a_model_of_one_kind_has_no_kind_shares() -> None:
    assert kind_shares(np.zeros((2, 1), np.float32), ("synthetic",)) == [None, None]
    assert likely_kind(None) is None
    assert describe_kind(None) == []
    assert mean_kind_shares([None], [0.9]) is None


def test_no_crops_have_no_kind_shares() -> None:
    assert kind_shares(np.zeros((0, 2), np.float32), KINDS) == []


def test_mean_kind_shares_are_weighted() -> None:
    fake, real = {"synthetic": 0.1, "swap": 0.9}, {"synthetic": 0.9, "swap": 0.1}
    assert mean_kind_shares([fake, None, real], [0.75, 0.0, 0.25]) == {"synthetic": 0.3, "swap": 0.7}
    assert mean_kind_shares([fake], [0.0]) is None


@pytest.mark.parametrize(
    ("swap", "sentence"),
    [
        (0.83, "it looks like a face swap rather than a generated face (0.83)"),
        (0.1, "it looks like a generated face rather than a face swap (0.90)"),
        (0.55, "the kind of fake is unclear (a generated face 0.45, a face swap 0.55)"),
    ],
)
def test_the_kind_is_described_with_its_share(swap: float, sentence: str) -> None:
    assert describe_kind({"synthetic": round(1 - swap, 4), "swap": swap}) == [sentence]


def test_an_image_has_the_kind_of_its_deciding_face() -> None:
    answer = image_verdict([face(0.1, swap=0.2), face(0.95, swap=0.83), face(0.8, swap=0.3)], model())
    assert answer.kind_of_fake == {"synthetic": 0.17, "swap": 0.83}
    assert "it looks like a face swap rather than a generated face (0.83)" in answer.reasons


def test_a_real_verdict_has_no_kind_of_fake() -> None:
    answer = image_verdict([face(0.1, swap=0.83)], model())
    assert (answer.verdict, answer.kind_of_fake, answer.faces[0].kind_of_fake) == ("real", None, None)
    assert not any("swap" in reason for reason in answer.reasons)


def test_a_face_that_is_called_real_beside_a_fake_one_has_no_kind_of_fake() -> None:
    answer = image_verdict([face(0.1, swap=0.83), face(0.95, swap=0.83)], model())
    assert [each.kind_of_fake is None for each in answer.faces] == [True, False]


def test_the_kind_is_no_reason_unless_the_verdict_is_fake() -> None:
    answer = image_verdict([face(0.5, swap=0.83)], model())
    assert answer.kind_of_fake == {"synthetic": 0.17, "swap": 0.83}
    assert not any("swap" in reason for reason in answer.reasons)
    assert image_verdict([face(None, "too small")], model()).kind_of_fake is None


# Posterior: Bayes' rule, checked against counts


def test_the_prior_of_the_calibration_changes_nothing() -> None:
    for p in (0.0, 0.1, 0.5, 0.937, 1.0):
        assert posterior(p, 0.5) == pytest.approx(p)
        assert posterior(p, 0.2, calibration_prior=0.2) == pytest.approx(p)


def test_rare_fakes_make_most_alarms_false() -> None:
    # Of 200,000 pictures 100 are fakes. With even classes a score of 0.99 is 99 times likelier on a fake. If 99 of the
    # 100 fakes have this score, so does one in a hundred of the 199,900 real pictures: 1,999.
    assert posterior(0.99, 0.0005) == pytest.approx(99 / (99 + 1999), rel=1e-3)


def test_common_fakes_raise_the_posterior_and_the_order_stays() -> None:
    assert posterior(0.5, 0.9) == pytest.approx(0.9)
    values = [posterior(p, 0.03) for p in (0.0, 0.001, 0.5, 0.9, 0.999, 1.0)]
    assert values == sorted(values)
    assert values[0] == 0.0
    assert values[-1] == 1.0


def test_a_prior_of_0_or_1_is_the_posterior() -> None:
    assert posterior(0.9999, 0.0) == 0.0
    assert posterior(0.0001, 1.0) == 1.0


def test_extreme_numbers_give_probabilities() -> None:
    assert 0 <= posterior(5e-324, 5e-324) <= 1e-300
    assert posterior(1 - 1e-16, 1 - 1e-16) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((1.1, 0.5), "p_fake"),
        ((0.5, -0.1), "prior"),
        ((0.5, float("nan")), "prior"),
        ((0.5, 0.5, 1.0), "calibration_prior"),
        ((0.5, 0.5, 0.0), "calibration_prior"),
    ],
)
def test_a_number_that_is_no_share_is_rejected(arguments: tuple[float, ...], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        posterior(*arguments)


def test_an_answer_has_a_posterior_if_it_has_a_prior_and_a_score() -> None:
    found = posterior_verdict(0.99, 0.0005)
    assert found is not None
    assert (found.prior, found.p_fake) == (0.0005, posterior(0.99, 0.0005))
    assert posterior_verdict(0.99, None) is None
    assert posterior_verdict(None, 0.0005) is None


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_prior_out_of_range_is_bad_input_even_without_a_score(prior: float) -> None:
    with pytest.raises(BadInput, match=str(prior)):
        posterior_verdict(None, prior)
