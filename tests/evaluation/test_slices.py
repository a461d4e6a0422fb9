"""Metrics of each slice by itself."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake_detector.evaluation.metrics import classification_metrics
from deepfake_detector.evaluation.slices import compression_bin, face_size_bin, measure_slices


def test_a_slice_has_the_metrics_of_its_pictures_alone() -> None:
    rng = np.random.default_rng(2)
    p, labels = rng.random(160), np.tile([0, 1], 80)
    a, b = measure_slices(p, labels, {"source": ["a"] * 100 + ["b"] * 60}, flag=0.8)
    alone = classification_metrics(p[:100], labels[:100], resamples=100, bins=15)
    assert (a.name, a.images, a.accuracy, a.auc) == ("a", 100, alone.accuracy, alone.auc)
    assert a.ece.value == alone.ece.value
    assert (b.name, b.reals, b.fakes) == ("b", 30, 30)
    assert b.true_positive_rate is not None
    assert b.false_positive_rate is not None
    assert b.true_positive_rate.value == (p[100:][labels[100:] == 1] >= 0.8).mean()
    assert b.false_positive_rate.value == (p[100:][labels[100:] == 0] >= 0.8).mean()


def test_few_pictures_of_a_class_are_a_small_sample() -> None:
    p, labels = np.full(90, 0.5), np.array([0] * 60 + [1] * 30)
    even, few = measure_slices(p, labels, {"size": ["a"] * 30 + ["b"] * 30 + ["a"] * 30}, 0.5)
    assert not even.small_sample
    assert few.small_sample
    assert few.as_dict()["small_sample"] is True


def test_a_source_of_one_class_has_no_auc() -> None:
    swaps, _ = measure_slices(np.array([0.9, 0.2, 0.4]), np.array([1, 1, 0]), {"source": ["swaps", "swaps", "x"]}, 0.5)
    assert swaps.accuracy.value == 0.5
    assert swaps.auc is None
    assert swaps.false_positive_rate is None


def test_pictures_with_an_unknown_property_are_left_out() -> None:
    found = measure_slices(np.array([0.9, 0.2]), np.array([1, 0]), {"face size": ["", "large"]}, 0.5)
    assert [(each.name, each.images) for each in found] == [("large", 1)]


@pytest.mark.parametrize(
    ("px", "name"), [(0, ""), (70, "small, under 96 px"), (96, "96 to 160 px"), (160, "96 to 160 px"),
                     (161, "large, over 160 px")],
)  # fmt: skip
def test_face_size_bins(px: float, name: str) -> None:
    assert face_size_bin(px) == name


@pytest.mark.parametrize(
    ("quality", "name"), [(0, "not a JPEG"), (95, "JPEG 90 and more"), (75, "JPEG 75 to 89"), (74, "JPEG 50 to 74"),
                          (10, "JPEG under 50")],
)  # fmt: skip
def test_compression_bins(quality: int, name: str) -> None:
    assert compression_bin(quality) == name
