"""Narrow networks for tests: they are faster to build, and no test depends on the layers that are left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deepfake_detector.model import backbone, network


def use_small_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block of 8 channels per stage of EfficientNet-Lite0."""
    stages = [replace(stage, blocks=1, expansion=min(stage.expansion, 2), channels=8) for stage in backbone.STAGES]
    monkeypatch.setattr(backbone, "STAGES", tuple(stages))


def use_small_residual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three layers of 8 channels instead of seven."""
    monkeypatch.setattr(network, "CHANNELS", ((8,), (8,), (8,)))
