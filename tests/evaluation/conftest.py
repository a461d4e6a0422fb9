"""The made-up results that most tests here read, and Matplotlib without a screen."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pytest

from tests.evaluation.known_case import Case, build_case


@pytest.fixture(autouse=True)
def _agg_backend() -> None:
    plt.switch_backend("Agg")


@pytest.fixture(scope="session")
def case(tiny: Any) -> Case:
    """Results with known metrics."""
    return build_case(tiny.contract())
