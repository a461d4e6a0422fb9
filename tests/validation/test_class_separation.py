"""Separation of the classes by one property: values computed by hand, and no alarm where chance explains it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.validation.class_separation import leaking_rows, permutation_p_value, total_variation


def test_total_variation_by_hand() -> None:
    assert total_variation(np.array([[5, 5], [5, 5]])) == 0
    assert total_variation(np.array([[10, 0], [0, 4]])) == 1
    assert total_variation(np.array([[8, 5], [2, 5]])) == pytest.approx(0.3)


def test_the_p_value_is_the_share_of_labellings_that_separate_as_well() -> None:
    # Two of six: 1 of the 20 ways to label three as fake gives all three of one value, and 1 the opposite.
    assert permutation_p_value(np.array([[3, 0], [0, 3]])) == pytest.approx(2 / 20, abs=0.03)
    assert permutation_p_value(np.array([[50, 50], [50, 50]])) == 1
    assert permutation_p_value(np.array([[100, 0], [0, 100]])) < 0.001


def test_pictures_with_a_value_of_one_class_are_marked() -> None:
    classes = pd.Series(["real"] * 50 + ["fake"] * 50, index=range(100, 200))  # rows go by position, not by index
    values = pd.Series(["a"] * 80 + ["b"] * 20, index=range(100, 200))
    marked = leaking_rows(classes, values, 0.2)
    assert np.flatnonzero(marked).tolist() == list(range(80, 100))
    assert not leaking_rows(classes, values, 0.4).any()


def test_small_or_one_sided_tables_mark_nothing() -> None:
    assert not leaking_rows(pd.Series(["real", "fake"]), pd.Series(["a", "b"]), 0.2).any()
    assert not leaking_rows(pd.Series(["real"] * 50), pd.Series(["a"] * 25 + ["b"] * 25), 0.2).any()
    assert not leaking_rows(pd.Series([], dtype=object), pd.Series([], dtype=object), 0.2).any()


def test_one_value_per_picture_separates_by_chance_only() -> None:
    rng = np.random.default_rng(0)
    classes = pd.Series(rng.permutation(["real"] * 300 + ["fake"] * 300))
    assert not leaking_rows(classes, pd.Series(range(600)), 0.2).any()
    # But real pictures from many cameras and fakes from one encoder reveal the class.
    values = pd.Series(range(600)).where(classes == "real", "one encoder")
    assert leaking_rows(classes, values, 0.2).sum() == 300


def test_random_labels_mark_nothing() -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        classes = pd.Series(rng.permutation(["real"] * 20 + ["fake"] * 20))
        assert not leaking_rows(classes, pd.Series(rng.choice(["a", "b", "c"], 40)), 0.2).any(), seed
