"""Findings made from scores whose answers are known: a detector that JPEG 30 blinds and that sees no small faces."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from deepfake_detector.evaluation.faithfulness import Explanation, explain
from deepfake_detector.evaluation.honesty_probes import probe_drift, probe_false_alarms, probe_resaving
from deepfake_detector.evaluation.metrics import compare, measure, measure_band
from deepfake_detector.evaluation.results import Findings, judge_goals
from deepfake_detector.evaluation.robustness import measure_grid, measure_outcomes
from deepfake_detector.evaluation.slices import measure_slices
from deepfake_detector.model.bundle import Contract, Thresholds

THRESHOLDS = Thresholds(clear=0.3, flag=0.7, strict=0.9)
CONDITIONS = (("clean", "clean", 0.0), ("JPEG 75", "JPEG quality", 75.0), ("JPEG 30", "JPEG quality", 30.0))


@dataclass(frozen=True, eq=False)
class Case:
    """A model on paper."""

    contract: Contract
    found: Findings
    p_fake: NDArray[np.float64]
    labels: NDArray[np.int64]
    scored: pd.DataFrame


@pytest.fixture(autouse=True)
def _no_screen() -> None:
    plt.switch_backend("Agg")


def graded(rng: np.random.Generator, images: int = 40) -> pd.DataFrame:
    """Right when clean, nearly so at JPEG 75; at JPEG 30 all is called fake and a tenth shows no face."""
    rows = []
    for name, family, level in CONDITIONS:
        for i in range(images):
            label = i % 2
            p = 0.9 if label else 0.1
            if name == "JPEG 75" and i % 10 == 1:
                p = 0.2
            if name == "JPEG 30":
                p = float("nan") if i % 10 == 0 else 0.95
            source = "swaps" if i >= images // 2 else "faces"
            rows.append((f"{source}/{i}.jpg", source, label, name, family, level, p + 0 * rng.random()))
    return pd.DataFrame(rows, columns=["path", "source", "label", "condition", "family", "level", "p_fake"])


def explained() -> Explanation:
    """A score that is the red of the whole crop; each crop is red in another half, and its map knows which."""
    rng = np.random.default_rng(3)
    crops = rng.integers(0, 60, (6, 16, 16, 3), dtype=np.uint8)
    maps = np.full((6, 4, 4), -1, np.float32)
    for i, left in enumerate((0, 8) * 3):
        crops[i, :, left : left + 8, 0] = 250
        maps[i, :, left // 4 : left // 4 + 2] = 5
    return explain(crops, np.full_like(crops, 30), maps, lambda some: (some[..., 0] > 200).mean(axis=(1, 2)) * 1.8)


@pytest.fixture(scope="session")
def case(tiny) -> Case:
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 60)
    logits = rng.normal(0, 1.2, 120) + np.where(labels == 1, 2.5, -2.5)
    sent_logits = logits * 0.3
    p, p_sent = 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-sent_logits))
    small = np.arange(120) % 6 < 2  # these are answered at random
    p = np.where(small, rng.permutation(p), p)
    scored = graded(rng)
    grid = measure_grid(scored, THRESHOLDS.flag, 100)
    facets = {
        "source": ["swaps" if i >= 60 else "faces" for i in range(120)],
        "face size": ["small, under 96 px" if s else "large, over 160 px" for s in small],
        "compression": ["JPEG 90 and more"] * 120,
    }
    slices = measure_slices(p, labels, facets, THRESHOLDS.flag)
    found = Findings(
        parameters=1234,
        test=measure(p, labels, 100, 10),
        valid=measure(p, labels, 100, 10),
        sent=measure(p_sent, labels, 100, 10),
        calibrated=(compare("test, as it is", p, p_sent, labels, 10, 50),),
        calibrated_on="traffic",
        fake_share=0.5,
        balance={"synthetic": (0.8, -0.25), "swap": (1.25, -0.5)},
        band=measure_band(p, labels, THRESHOLDS),
        sent_band=measure_band(p_sent, labels, THRESHOLDS),
        slices=tuple(slices),
        served=measure_outcomes(scored[scored["condition"] == "clean"], THRESHOLDS.flag),
        grid=grid,
        probes=(
            probe_resaving(p, 1 - p, labels, 0.005),
            probe_drift("flipped", p, p + 0.001, 0.05),
            *probe_false_alarms(slices, 0.05),
        ),
        explanation=explained(),
        goals=tuple(judge_goals(slices, grid, {"swaps": "swap", "faces": "synthetic"}, 1234)),
        terms={"swaps": "for research only"},
        reencode=0,
        again="dvc exp run -S 'train.epochs=40'",
    )
    contract = tiny.contract(test_metrics=found.test.flat(), test_images=120, thresholds=THRESHOLDS)
    return Case(contract, found, p, labels, scored)
