"""Modules that worker processes load before their first picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("pandas", "pyarrow", "scipy", "pydantic", "tensorflow", "great_expectations", "sklearn", "matplotlib")


@pytest.mark.parametrize(
    ("stage", "worker"),
    [
        ("pipelines.prepare", "from deepfake_detector.preparation.crops import _crop_member, CropRequest"),
        ("pipelines.validate", "from deepfake_detector.validation.image_record import describe_member"),
    ],
)
def test_a_worker_loads_nothing_heavy(stage: str, worker: str) -> None:
    """A worker imports the stage's file and the module of its function; pandas alone takes as long as 500 pictures."""
    code = f"import sys, {stage}\n{worker}\nprint([name for name in {HEAVY} if name in sys.modules])"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert process.stdout.strip() == "[]"
