"""`evaluate.quick` -> smaller samples, and nothing else."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from deepfake_detector.config import Settings, read_settings
from deepfake_detector.evaluation.evaluate import evaluation_settings


@pytest.fixture
def settings() -> Settings:
    return read_settings(Path(__file__).parents[2] / "params.yaml")


def test_a_full_evaluation_keeps_the_settings(settings: Settings) -> None:
    assert settings.evaluate.quick is False
    assert evaluation_settings(settings) == settings


def test_a_quick_evaluation_changes_the_sizes_of_samples_only(settings: Settings) -> None:
    quick = evaluation_settings(replace(settings, evaluate=replace(settings.evaluate, quick=True)))
    assert replace(quick, evaluate=settings.evaluate) == settings
    before, after = asdict(settings.evaluate), asdict(quick.evaluate)
    changed = {name: after[name] for name in after if after[name] != before[name]}
    sizes = {"bootstrap": 100, "grid_images": 10, "explain_images": 4, "simulated_videos": 100}
    assert changed == {"quick": True, **sizes}


@pytest.mark.parametrize(("grid_images", "expected"), [(0, 10), (6, 6), (200, 10)])  # 0: all pictures
def test_smaller_samples_stay_as_they_are(settings: Settings, grid_images: int, expected: int) -> None:
    options = replace(settings.evaluate, quick=True, grid_images=grid_images, explain_images=2)
    quick = evaluation_settings(replace(settings, evaluate=options)).evaluate
    assert (quick.grid_images, quick.explain_images) == (expected, 2)
