"""The surest answers are picked and shown with their heat."""

import numpy as np
from PIL import Image

from deepfake_detector.evaluation.figures import Shown, draw_answers, heated, surest


def test_half_of_each_class_surest_first() -> None:
    p = np.array([0.01, 0.30, 0.45, 0.90, 0.60, 0.99, 0.20, 0.55])
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    assert surest(p, labels, right=True, count=4).tolist() == [0, 1, 5, 3]
    assert surest(p, labels, right=False).tolist() == [7, 6]


def test_one_class_fills_up_where_the_other_is_short() -> None:
    p, labels = np.linspace(0.6, 0.99, 12), np.array([1] * 11 + [0])
    rows = surest(p, labels, right=True)
    assert len(rows) == 10
    assert rows[0] == 10
    assert surest(p, labels, right=False).tolist() == [11]


def test_heat_is_red_for_fake_blue_against_it_and_grey_without_evidence() -> None:
    grey = np.full((32, 32, 3), 100, np.uint8)
    maps = np.array([[9.0, 0.0], [0.0, -9.0]], np.float32)
    found = heated(grey, maps).astype(int)
    assert found[0, 0, 0] > found[0, 0, 2] + 50
    assert found[31, 31, 2] > found[31, 31, 0] + 50
    assert np.ptp(heated(grey, np.zeros((4, 4), np.float32))) == 0
    assert heated(grey, np.array([[9.0]], np.float32)).std(axis=(0, 1)).max() == 0  # one cell colours all alike


def test_as_many_pairs_are_drawn_as_there_are_and_none_says_so(tmp_path) -> None:
    rng = np.random.default_rng(0)
    shown = Shown(rng.integers(0, 255, (7, 24, 24, 3), dtype=np.uint8), rng.normal(0, 2, (7, 3, 3)).astype(np.float32),
                  rng.random(7), rng.integers(0, 2, 7), ["faces"] * 7)  # fmt: skip
    two, one, none = (
        draw_answers(tmp_path / f"{n}.png", shown, np.arange(n, dtype=np.int64), "Answers") for n in (7, 2, 0)
    )
    with Image.open(two) as tall, Image.open(one) as short, Image.open(none) as empty:
        assert tall.height > 1.7 * short.height
        assert empty.size == short.size
