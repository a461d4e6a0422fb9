"""Bayes' rule, checked against the counts it stands for."""

import pytest

from deepfake_detector.errors import BadInput
from deepfake_detector.inference.decision import posterior, posterior_at


def test_the_prior_of_the_calibration_changes_nothing() -> None:
    for p in (0.0, 0.1, 0.5, 0.937, 1.0):
        assert posterior(p, 0.5) == pytest.approx(p)
        assert posterior(p, 0.2, calibrated_share=0.2) == pytest.approx(p)


def test_rare_fakes_make_most_alarms_false() -> None:
    # Of 200,000 pictures 100 are fakes. Among even classes a score of 0.99 is 99 times likelier on a fake, so of the
    # fakes 99 get it for every one of as many real ones: 99 of 100 against 1,999 of 199,900.
    assert posterior(0.99, 0.0005) == pytest.approx(99 / (99 + 1999), rel=1e-3)


def test_common_fakes_raise_it_and_order_stays() -> None:
    assert posterior(0.5, 0.9) == pytest.approx(0.9)
    values = [posterior(p, 0.03) for p in (0.0, 0.001, 0.5, 0.9, 0.999, 1.0)]
    assert values == sorted(values)
    assert values[0] == 0.0
    assert values[-1] == 1.0


def test_certainty_of_the_caller_wins() -> None:
    assert posterior(0.9999, 0.0) == 0.0
    assert posterior(0.0001, 1.0) == 1.0


def test_the_smallest_and_largest_numbers_stay_probabilities() -> None:
    assert 0 <= posterior(5e-324, 5e-324) <= 1e-300
    assert posterior(1 - 1e-16, 1 - 1e-16) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "name"), [((1.1, 0.5), "p_fake"), ((0.5, -0.1), "prior"), ((0.5, float("nan")), "prior"),
                            ((0.5, 0.5, 1.0), "calibrated_share"), ((0.5, 0.5, 0.0), "calibrated_share")],
)  # fmt: skip
def test_what_is_no_share_is_refused(arguments: tuple[float, ...], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        posterior(*arguments)


def test_an_answer_gets_a_posterior_where_a_prior_was_given() -> None:
    found = posterior_at(0.99, 0.0005)
    assert found is not None
    assert (found.prior, found.p_fake) == (0.0005, posterior(0.99, 0.0005))
    assert posterior_at(0.99, None) is None
    assert posterior_at(None, 0.0005) is None


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_prior_that_is_no_share_is_bad_input_even_without_a_score(prior: float) -> None:
    with pytest.raises(BadInput, match=str(prior)):
        posterior_at(None, prior)
