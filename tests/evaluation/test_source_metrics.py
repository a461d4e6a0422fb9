"""Metrics of each source; one-class sources are compared with the others, and left-out ones are summarized."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake_detector.evaluation.source_metrics import (
    SourceMetrics,
    left_out_subsets,
    measure_left_out,
    measure_sources,
)
from deepfake_detector.model.bundle import Thresholds
from deepfake_detector.stats import auc

THRESHOLDS = Thresholds(clear=0.3, flag=0.7, strict=0.9)
# Trained on: faces (both classes), celeba (reals). Left out: portraits (fakes), swaps (both classes).
NAMES = ["faces"] * 40 + ["celeba"] * 20 + ["portraits"] * 30 + ["swaps"] * 40
LABELS = np.array([0, 1] * 20 + [0] * 20 + [1] * 30 + [0, 1] * 20, np.int64)
LEFT_OUT = frozenset({"portraits", "swaps", "not_here"})
RNG = np.random.default_rng(3)
P_FAKE = np.clip(0.5 + 0.3 * (2 * LABELS - 1) + RNG.normal(0, 0.25, len(LABELS)), 0, 1)


def rows(*names: str) -> np.ndarray:
    return np.isin(NAMES, names)


@pytest.fixture(scope="module")
def sources() -> dict[str, SourceMetrics]:
    return {each.name: each for each in measure_sources(P_FAKE, LABELS, NAMES, LEFT_OUT, THRESHOLDS)}


def test_a_source_with_both_classes_has_an_auc_of_its_own(sources: dict[str, SourceMetrics]) -> None:
    faces = sources["faces"]
    assert faces.auc is not None
    assert faces.auc.value == auc(P_FAKE[:40], LABELS[:40])
    assert (faces.auc_against, faces.left_out, faces.reals, faces.fakes) == ("", False, 20, 20)
    reals, fakes = P_FAKE[:40:2], P_FAKE[1:40:2]
    assert faces.false_positive_rate is not None
    assert faces.false_positive_rate.value == (reals >= 0.7).mean()
    assert faces.true_positive_rate is not None
    assert faces.true_positive_rate.value == (fakes >= 0.7).mean()
    assert faces.false_negative_rate_at_clear is not None
    assert faces.false_negative_rate_at_clear.value == (fakes <= 0.3).mean()
    decided = (P_FAKE[:40] >= 0.7) | (P_FAKE[:40] <= 0.3)
    assert faces.coverage.value == decided.mean()
    assert faces.selective_accuracy is not None
    assert faces.selective_accuracy.value == pytest.approx(((P_FAKE[:40] >= 0.7) == LABELS[:40])[decided].mean())


def test_a_source_of_one_class_is_compared_with_the_others(sources: dict[str, SourceMetrics]) -> None:
    celeba, portraits = sources["celeba"], sources["portraits"]
    assert celeba.auc is not None
    fakes = LABELS == 1
    assert celeba.auc.value == pytest.approx(auc(P_FAKE[fakes | rows("celeba")], LABELS[fakes | rows("celeba")]))
    assert celeba.auc_against == "fakes of faces, portraits, swaps"
    assert portraits.auc_against == "reals of celeba, faces, swaps"
    assert celeba.ece is None
    assert celeba.true_positive_rate is celeba.false_negative_rate_at_clear is None
    assert portraits.false_positive_rate is None
    assert portraits.left_out
    assert not portraits.small_sample
    assert celeba.small_sample
    assert "ece" not in celeba.headline()


def test_without_the_other_class_anywhere_there_is_no_auc() -> None:
    (only,) = measure_sources(np.array([0.2, 0.4]), np.zeros(2, np.int64), ["a", "a"], (), THRESHOLDS)
    assert only.auc is None
    assert only.auc_against == ""


def test_left_out_sources_are_summarized(sources: dict[str, SourceMetrics]) -> None:
    found = measure_left_out(P_FAKE, LABELS, NAMES, LEFT_OUT, list(sources.values()))
    assert found is not None
    portraits, swaps = sources["portraits"], sources["swaps"]
    assert portraits.auc is not None
    assert swaps.auc is not None
    assert found.auc is not None
    assert found.auc.value == pytest.approx((portraits.auc.value + swaps.auc.value) / 2)
    assert found.auc.low < found.auc.value < found.auc.high
    assert found.false_positive_rate == swaps.false_positive_rate
    both = rows("portraits", "swaps")
    assert found.images == both.sum() == 70
    assert found.coverage.value == ((P_FAKE[both] >= 0.7) | (P_FAKE[both] <= 0.3)).mean()
    assert found.false_negative_rate_at_clear is not None
    assert found.false_negative_rate_at_clear.value == (P_FAKE[both & (LABELS == 1)] <= 0.3).mean()


def test_nothing_is_summarized_without_left_out_sources() -> None:
    measured = measure_sources(P_FAKE, LABELS, NAMES, (), THRESHOLDS)
    assert measure_left_out(P_FAKE, LABELS, NAMES, (), measured) is None


def test_left_out_reals_alone_have_a_false_positive_rate_and_no_mean_auc() -> None:
    measured = measure_sources(P_FAKE, LABELS, NAMES, {"celeba"}, THRESHOLDS)
    found = measure_left_out(P_FAKE, LABELS, NAMES, {"celeba"}, measured)
    assert found is not None
    assert found.auc is found.false_negative_rate_at_clear is None
    assert found.false_positive_rate is not None
    assert set(found.headline()) == {"images", "coverage", "false_positive_rate"}


def test_subsets_hold_both_classes() -> None:
    for subset in left_out_subsets(LABELS, NAMES, LEFT_OUT):
        assert set(LABELS[subset].tolist()) == {0, 1}
    assert left_out_subsets(np.ones(2, np.int64), ["a", "a"], {"a"}) == []
