from __future__ import annotations

import numpy as np
import pytest

from deepfake_detector.evaluation.kind_metrics import measure_kinds

NAMES = ("synthetic", "swap")


def test_only_flagged_fakes_of_known_kinds_count() -> None:
    logits = np.log(np.array([[9, 1], [1, 9], [9, 1], [1, 1], [9, 1], [9, 1], [1, 9]], np.float64))
    p_fake = np.array([0.9, 0.9, 0.9, 0.9, 0.2, 0.9, 0.9])
    labels = np.array([1, 1, 1, 1, 1, 0, 1])
    kinds = ["synthetic", "swap", "swap", "swap", "synthetic", "", "montage"]
    found = measure_kinds(logits, p_fake, labels, kinds, NAMES, 0.7)
    assert found is not None
    assert found.flagged == 4  # not the unflagged one, the real one, nor the one of an unknown kind
    assert found.named.value == pytest.approx(3 / 4)  # one has equal shares
    assert found.right is not None
    assert found.right.value == pytest.approx(2 / 3)
    assert {name: share.value for name, share in found.per_kind.items()} == {"synthetic": 1.0, "swap": 0.5}
    assert found.right.low < found.right.value < found.right.high


def test_without_flagged_fakes_the_share_is_unknown() -> None:
    found = measure_kinds(np.zeros((2, 2)), np.array([0.1, 0.9]), np.array([1, 0]), ["swap", ""], NAMES, 0.7)
    assert found is not None
    assert (found.flagged, found.right, found.per_kind) == (0, None, {})
    assert "right" not in found.as_dict()


def test_a_model_of_one_kind_has_no_kinds_to_compare() -> None:
    assert measure_kinds(np.zeros((2, 1)), np.ones(2), np.ones(2, np.int64), ["swap"] * 2, ("swap",), 0.7) is None
