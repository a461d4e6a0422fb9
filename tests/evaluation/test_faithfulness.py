"""Deletion and insertion: a map that knows what decides is told from one that does not."""

import numpy as np
import pytest

from deepfake_detector.evaluation.faithfulness import draw_explanation, explain

CELLS, SIDE, CROPS = 8, 32, 24


def score(crops: np.ndarray) -> np.ndarray:
    """The share of red above 200, a little steepened; only pixels decide."""
    red = (crops[..., 0] > 200).mean(axis=(1, 2))
    return 1 / (1 + np.exp(-20 * (red - 0.1)))


@pytest.fixture
def crops() -> np.ndarray:
    rng = np.random.default_rng(0)
    some = rng.integers(0, 100, (CROPS, SIDE, SIDE, 3), dtype=np.uint8)
    for crop in some:  # a red square of a sixteenth of the area, each somewhere else
        top, left = rng.integers(0, 6, 2) * 4
        crop[top : top + 12, left : left + 12, 0] = 255
    return some


def maps_of(crops: np.ndarray) -> np.ndarray:
    cell = SIDE // CELLS
    red = crops[..., 0].reshape(CROPS, CELLS, cell, CELLS, cell).mean(axis=(2, 4))
    return (red - 100).astype(np.float32)


def test_a_true_map_beats_both_other_orders(crops) -> None:
    found = explain(crops, np.full_like(crops, 50), maps_of(crops), score)
    assert found.holds
    assert all(gain.low > 0 for gain in found.gains.values())
    assert found.curves["deletion", "map"][1] < found.curves["deletion", "random"][1]
    assert found.curves["insertion", "map"][1] > found.curves["insertion", "random"][1]


def test_a_map_of_noise_does_not(crops) -> None:
    noise = np.random.default_rng(1).normal(0, 1, (CROPS, CELLS, CELLS)).astype(np.float32)
    found = explain(crops, np.full_like(crops, 50), noise, score)
    assert not found.holds
    assert found.gains["deletion", "random"].low < 0.02


def test_curves_begin_with_the_crop_and_end_with_nothing_of_it(crops) -> None:
    blurred = np.full_like(crops, 50)
    found = explain(crops, blurred, maps_of(crops), score)
    side = score(crops) >= 0.5
    whole = np.where(side, score(crops), 1 - score(crops)).mean()
    gone = np.where(side, score(blurred), 1 - score(blurred)).mean()
    for order in ("map", "random", "other map"):
        assert found.curves["deletion", order][[0, -1]] == pytest.approx([whole, gone])
        assert found.curves["insertion", order][[0, -1]] == pytest.approx([gone, whole])


def test_evidence_for_the_answer_given_comes_first_whichever_it_is(crops) -> None:
    found = explain(crops, np.full_like(crops, 50), maps_of(crops), lambda some: 1 - score(some))
    assert not found.holds  # the same map now points away from what decides
    turned = explain(crops, np.full_like(crops, 50), -maps_of(crops), lambda some: 1 - score(some))
    assert turned.holds


def test_the_figure_is_drawn(case, tmp_path) -> None:
    first = draw_explanation(tmp_path / "a.png", case.found.explanation).read_bytes()
    assert first.startswith(b"\x89PNG")
    assert first == draw_explanation(tmp_path / "b.png", case.found.explanation).read_bytes()
    assert case.found.explanation.as_dict()["crops"] == 6
