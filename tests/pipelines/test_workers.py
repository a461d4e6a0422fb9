"""What the processes that look at pictures and cut them load, before their first picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("pandas", "pyarrow", "scipy", "pydantic", "tensorflow", "great_expectations", "sklearn", "matplotlib")


@pytest.mark.parametrize(
    ("stage", "work"),
    [
        ("pipelines.prepare", "from deepfake_detector.preparation.crops import _cut, Wanted"),
        ("pipelines.validate", "from deepfake_detector.validation.image_record import examined"),
    ],
)
def test_a_worker_loads_nothing_heavy(stage: str, work: str) -> None:
    """It imports the stage's file and the module of its work; pandas alone took longer than 500 pictures."""
    code = f"import sys, {stage}\n{work}\nprint([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert found.stdout.strip() == "[]"
