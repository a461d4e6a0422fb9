"""How differently classes carry a property: figures worked out by hand, and no alarm where chance explains it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepfake_detector.validation.class_separation import by_chance, separation, telltales


def test_separation_is_the_total_variation_distance() -> None:
    assert separation(np.array([[5, 5], [5, 5]])) == 0
    assert separation(np.array([[10, 0], [0, 4]])) == 1
    assert separation(np.array([[8, 5], [2, 5]])) == pytest.approx(0.3)


def test_chance_is_the_share_of_labellings_that_separate_as_well() -> None:
    # Two of six: 1 of the 20 ways to label three as fake gives all three of one value, and 1 the opposite.
    assert by_chance(np.array([[3, 0], [0, 3]])) == pytest.approx(2 / 20, abs=0.03)
    assert by_chance(np.array([[50, 50], [50, 50]])) == 1
    assert by_chance(np.array([[100, 0], [0, 100]])) < 0.001


def test_a_value_of_one_class_marks_that_class() -> None:
    classes = pd.Series(["real"] * 50 + ["fake"] * 50, index=range(100, 200))  # rows are told by place, not by index
    values = pd.Series(["a"] * 80 + ["b"] * 20, index=range(100, 200))
    marked = telltales(classes, values, 0.2)
    assert np.flatnonzero(marked).tolist() == list(range(80, 100))
    assert not telltales(classes, values, 0.4).any()


def test_small_or_one_sided_tables_say_nothing() -> None:
    assert not telltales(pd.Series(["real", "fake"]), pd.Series(["a", "b"]), 0.2).any()
    assert not telltales(pd.Series(["real"] * 50), pd.Series(["a"] * 25 + ["b"] * 25), 0.2).any()
    assert not telltales(pd.Series([], dtype=object), pd.Series([], dtype=object), 0.2).any()


def test_a_value_per_picture_separates_by_chance_only() -> None:
    rng = np.random.default_rng(0)
    classes = pd.Series(rng.permutation(["real"] * 300 + ["fake"] * 300))
    assert not telltales(classes, pd.Series(range(600)), 0.2).any()
    # But where only the real ones come from many cameras, that is a telltale.
    values = pd.Series(range(600)).where(classes == "real", "one encoder")
    assert telltales(classes, values, 0.2).sum() == 300


def test_labels_at_random_raise_no_alarm() -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        classes = pd.Series(rng.permutation(["real"] * 20 + ["fake"] * 20))
        assert not telltales(classes, pd.Series(rng.choice(["a", "b", "c"], 40)), 0.2).any(), seed
