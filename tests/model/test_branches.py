"""Branches pass unchanged in training, where their deviations are averaged; outside they get equal deviations."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_detector.model.branches import MOMENTUM, BranchScales


def maps(deviations: tuple[float, ...], faces: int = 400) -> list[NDArray[np.float32]]:
    """One kind of fake, one cell per face, logits with these standard deviations."""
    rng = np.random.default_rng(0)
    return [rng.normal(1, deviation, (faces, 1, 1, 1)).astype(np.float32) for deviation in deviations]


def test_branches_pass_unchanged_in_training() -> None:
    layer, branches = BranchScales(), maps((1.0, 5.0))
    for found, given in zip(layer(branches, training=True), branches, strict=True):
        assert np.array_equal(np.asarray(found), given)


def test_deviations_are_averaged_over_the_steps_of_training_alone() -> None:
    layer, branches = BranchScales(), maps((0.5, 5.0))
    layer(branches, training=False)
    assert np.array_equal(np.array(layer.deviations), [1, 1])
    layer(branches, training=True)
    found = [float(branch.std()) for branch in branches]
    assert np.allclose(layer.deviations, [MOMENTUM + (1 - MOMENTUM) * deviation for deviation in found], rtol=1e-5)
    for _ in range(400):
        layer(branches, training=True)
    assert np.allclose(layer.deviations, found, rtol=0.01)


@pytest.mark.parametrize("deviations", [(1.0, 4.0), (0.5, 0.5), (2.0, 1.0, 8.0)])
def test_outside_training_all_branches_have_the_geometric_mean_of_the_deviations(deviations: tuple[float, ...]) -> None:
    layer, branches = BranchScales(), maps(deviations)
    layer.build([branch.shape for branch in branches])
    layer.set_weights([np.array([branch.std() for branch in branches])])
    expected = np.exp(np.log([branch.std() for branch in branches]).mean())
    scaled = layer(branches, training=False)
    assert np.allclose([np.asarray(branch).std() for branch in scaled], expected, rtol=1e-4)
    assert np.allclose(
        layer.factors(), [np.asarray(s)[0, 0, 0, 0] / b[0, 0, 0, 0] for s, b in zip(scaled, branches, strict=True)]
    )
    assert np.prod(layer.factors()) == pytest.approx(1, rel=1e-5)


def test_a_branch_without_any_deviation_gives_finite_logits() -> None:
    layer = BranchScales()
    layer.build([(4, 1, 1, 1)] * 2)
    layer.set_weights([np.array([0.0, 1.0], np.float32)])
    assert np.isfinite(layer.factors()).all()
