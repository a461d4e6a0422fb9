"""Deletion and insertion separate a map that marks the decisive cells from one that does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.evaluation.faithfulness import draw_faithfulness, heatmap_faithfulness, measure_faithfulness
from tests.evaluation.known_case import Case

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
CELLS, SIDE_PX, CROPS = 8, 32, 24


def score(crops: Pixels) -> Floats:
    """A steep function of the share of red pixels."""
    red = (crops[..., 0] > 200).mean(axis=(1, 2))
    return np.asarray(1 / (1 + np.exp(-20 * (red - 0.1))))


@pytest.fixture
def crops() -> Pixels:
    """Noise with a red square of a seventh of the area at a random position."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 100, (CROPS, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    for crop in noise:
        top, left = rng.integers(0, 6, 2) * 4
        crop[top : top + 12, left : left + 12, 0] = 255
    return noise


def red_maps(crops: Pixels) -> NDArray[np.float32]:
    cell = SIDE_PX // CELLS
    red = crops[..., 0].reshape(CROPS, CELLS, cell, CELLS, cell).mean(axis=(2, 4))
    return np.asarray(red - 100, np.float32)


def test_a_true_map_is_better_than_both_baselines(crops: Pixels) -> None:
    found = measure_faithfulness(crops, np.full_like(crops, 50), red_maps(crops), score)
    assert found.faithful
    assert all(gain.low > 0 for gain in found.gains.values())
    assert found.curves["deletion", "map"][1] < found.curves["deletion", "random"][1]
    assert found.curves["insertion", "map"][1] > found.curves["insertion", "random"][1]


def test_a_map_of_noise_is_not_faithful(crops: Pixels) -> None:
    noise = np.random.default_rng(1).normal(0, 1, (CROPS, CELLS, CELLS)).astype(np.float32)
    found = measure_faithfulness(crops, np.full_like(crops, 50), noise, score)
    assert not found.faithful
    assert found.gains["deletion", "random"].low < 0.02


def test_curves_connect_the_clean_and_the_blurred_crop(crops: Pixels) -> None:
    blurred = np.full_like(crops, 50)
    found = measure_faithfulness(crops, blurred, red_maps(crops), score)
    fake = score(crops) >= 0.5
    clean_p = np.where(fake, score(crops), 1 - score(crops)).mean()
    blurred_p = np.where(fake, score(blurred), 1 - score(blurred)).mean()
    for order in ("map", "random", "other map"):
        assert found.curves["deletion", order][[0, -1]] == pytest.approx([clean_p, blurred_p])
        assert found.curves["insertion", order][[0, -1]] == pytest.approx([blurred_p, clean_p])


def test_cells_are_ordered_by_evidence_for_the_predicted_class(crops: Pixels) -> None:
    def inverted(pixels: Pixels) -> Floats:
        return 1 - score(pixels)

    found = measure_faithfulness(crops, np.full_like(crops, 50), red_maps(crops), inverted)
    assert not found.faithful  # the same map is now evidence against what decides
    found = measure_faithfulness(crops, np.full_like(crops, 50), -red_maps(crops), inverted)
    assert found.faithful


def test_a_single_cell_or_a_single_crop_is_not_measured(crops: Pixels) -> None:
    assert heatmap_faithfulness(crops, np.zeros((CROPS, 1, 1), np.float32), score, 0) is None
    assert heatmap_faithfulness(crops[:1], np.zeros((1, 4, 4), np.float32), score, 0) is None
    found = heatmap_faithfulness(crops, red_maps(crops), score, 0)
    assert found is not None
    assert found.crops == CROPS


def test_the_figure_is_deterministic(case: Case, tmp_path: Path) -> None:
    faithfulness = case.results.faithfulness
    assert faithfulness is not None
    first = draw_faithfulness(tmp_path / "a.png", faithfulness).read_bytes()
    assert first.startswith(b"\x89PNG")
    assert first == draw_faithfulness(tmp_path / "b.png", faithfulness).read_bytes()
    assert faithfulness.as_dict()["crops"] == 6
