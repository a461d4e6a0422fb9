"""The model card says what was measured, per source if there are several, and what was done to the pictures."""

from __future__ import annotations

import pytest

from deepfake_detector.evidence.card import model_card
from deepfake_detector.evidence.metrics import Estimate, Slice

FIGURES = ("accuracy", "precision", "recall", "f1", "auc")
METRICS = {f"{name}{end}": 0.5 for name in FIGURES for end in ("", "_low", "_high")} | {"ece": 0.1, "brier": 0.2}
ONE = Slice(40, Estimate(0.91, 0.8, 0.95), Estimate(0.97, 0.9, 0.99))


@pytest.fixture
def contract(tiny):
    return tiny.contract(test_metrics=METRICS)


def test_several_sources_make_a_table(contract) -> None:
    card = model_card(contract, 5, {"swaps": Slice(9, Estimate(0.5, 0.2, 0.8), None), "faces": ONE})
    assert "| `faces` | 40 | 0.910 [0.800, 0.950] | 0.970 [0.900, 0.990] |\n| `swaps` | 9 |" in card
    assert "one class only" in card


def test_one_source_needs_no_table(contract) -> None:
    assert "| source |" not in model_card(contract, 5, {"faces": ONE})


def test_pictures_that_were_saved_anew_are_mentioned(contract) -> None:
    assert "JPEG of quality 80" in model_card(contract, 5, reencode=80)
    assert "JPEG of quality" not in model_card(contract, 5)


def test_the_card_tells_people_not_to_use_a_model_of_drawings_on_photographs(tiny) -> None:
    drawn = model_card(tiny.contract(test_metrics=METRICS, trained_on="drawn sample"), 5)
    assert "do not judge anybody's picture with it" in drawn
    assert "do not judge anybody" not in model_card(tiny.contract(test_metrics=METRICS), 5)
