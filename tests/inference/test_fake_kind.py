from __future__ import annotations

import numpy as np
import pytest

from deepfake_detector.inference.decision import kind_shares, leading, mean_shares, say_kind

KINDS = ("synthetic", "swap")


def test_shares_are_the_softmax_over_the_kinds_whatever_the_level() -> None:
    logits = np.array([[0.0, 0.0], [-1.0, np.log(3) - 1], [500.0, 0.0], [-500.0, -500.0]], np.float32)
    found = kind_shares(logits, KINDS)
    assert found == [
        {"synthetic": 0.5, "swap": 0.5},
        {"synthetic": 0.25, "swap": 0.75},
        {"synthetic": 1.0, "swap": 0.0},
        {"synthetic": 0.5, "swap": 0.5},
    ]


def test_who_learnt_one_kind_cannot_tell() -> None:
    assert kind_shares(np.zeros((2, 1), np.float32), ("synthetic",)) == [None, None]
    assert (leading(None), say_kind(None), mean_shares([None], [0.9])) == (None, [], None)


def test_no_crops_have_no_shares() -> None:
    assert kind_shares(np.zeros((0, 2), np.float32), KINDS) == []


def test_the_mean_listens_to_sightings_that_look_fake() -> None:
    sure, real = {"synthetic": 0.1, "swap": 0.9}, {"synthetic": 0.9, "swap": 0.1}
    assert mean_shares([sure, None, real], [0.75, 0.0, 0.25]) == {"synthetic": 0.3, "swap": 0.7}
    assert mean_shares([sure], [0.0]) is None


@pytest.mark.parametrize(
    ("swap", "said"),
    [
        (0.83, "it looks like a face swap rather than a generated face (0.83)"),
        (0.1, "it looks like a generated face rather than a face swap (0.90)"),
        (0.55, "which kind of fake it is stays unclear (a generated face 0.45, a face swap 0.55)"),
    ],
)
def test_the_kind_is_said_in_plain_words_with_the_number(swap: float, said: str) -> None:
    assert say_kind({"synthetic": round(1 - swap, 4), "swap": swap}) == [said]
