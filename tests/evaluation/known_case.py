"""Results computed from made-up scores with known metrics: a detector that fails under JPEG 30 and on small faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_detector.evaluation.faithfulness import Faithfulness, measure_faithfulness
from deepfake_detector.evaluation.metrics import classification_metrics, compare_calibration, threshold_metrics
from deepfake_detector.evaluation.results import EvaluationResults, compare_with_targets
from deepfake_detector.evaluation.robustness_metrics import measure_conditions, measure_grid
from deepfake_detector.evaluation.shortcut_probes import (
    probe_false_positive_rates,
    probe_recompression,
    probe_score_drift,
)
from deepfake_detector.evaluation.slices import measure_slices
from deepfake_detector.evaluation.source_metrics import measure_sources
from deepfake_detector.model.bundle import Contract, Thresholds

THRESHOLDS = Thresholds(clear=0.3, flag=0.7, strict=0.9)
CONDITIONS = (("clean", "clean", 0.0), ("JPEG 75", "JPEG quality", 75.0), ("JPEG 30", "JPEG quality", 30.0))
COLUMNS = ["path", "source", "label", "condition", "family", "level", "p_fake"]


@dataclass(frozen=True, eq=False)
class Case:
    """120 test crops with their scores, 40 pictures under three conditions, and the results computed from both."""

    contract: Contract
    results: EvaluationResults
    p_fake: NDArray[np.float64]
    labels: NDArray[np.int64]
    grid_scores: pd.DataFrame


def condition_scores(images: int = 40) -> pd.DataFrame:
    """Correct when clean, nearly so under JPEG 75; under JPEG 30 all score high and a tenth has no scorable face."""
    rows = []
    for name, family, level in CONDITIONS:
        for i in range(images):
            label = i % 2
            p_fake = 0.9 if label else 0.1
            if name == "JPEG 75" and i % 10 == 1:
                p_fake = 0.2
            if name == "JPEG 30":
                p_fake = float("nan") if i % 10 == 0 else 0.95
            source = "swaps" if i >= images // 2 else "faces"
            rows.append((f"{source}/{i}.jpg", source, label, name, family, level, p_fake))
    return pd.DataFrame(rows, columns=COLUMNS)


def faithful_maps() -> Faithfulness:
    """The score is the share of red pixels; each crop has one red half, and its map marks that half."""
    rng = np.random.default_rng(3)
    crops = rng.integers(0, 60, (6, 16, 16, 3), dtype=np.uint8)
    maps = np.full((6, 4, 4), -1, np.float32)
    for i, left in enumerate((0, 8) * 3):
        crops[i, :, left : left + 8, 0] = 250
        maps[i, :, left // 4 : left // 4 + 2] = 5

    def score(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.asarray((pixels[..., 0] > 200).mean(axis=(1, 2)) * 1.8)

    return measure_faithfulness(crops, np.full_like(crops, 30), maps, score)


def build_case(contract: Contract) -> Case:
    """The case, with the contract's metrics taken from it."""
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 60)
    logits = rng.normal(0, 1.2, 120) + np.where(labels == 1, 2.5, -2.5)
    p_fake, p_corrupted = 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-0.3 * logits))
    small = np.arange(120) % 6 < 2  # their scores are shuffled
    p_fake = np.where(small, rng.permutation(p_fake), p_fake)
    grid_scores = condition_scores()
    grid = measure_grid(grid_scores, THRESHOLDS.flag, 100)
    facets = {
        "source": ["swaps" if i >= 60 else "faces" for i in range(120)],
        "face size": ["small, under 96 px" if s else "large, over 160 px" for s in small],
        "compression": ["JPEG 90 and more"] * 120,
    }
    slices = measure_slices(p_fake, labels, facets, THRESHOLDS.flag)
    sources = measure_sources(p_fake, labels, facets["source"], (), THRESHOLDS)
    results = EvaluationResults(
        parameters=1234,
        test=classification_metrics(p_fake, labels, 100, 10),
        valid=classification_metrics(p_fake, labels, 100, 10),
        corrupted=classification_metrics(p_corrupted, labels, 100, 10),
        calibration=(compare_calibration("test, clean", p_fake, p_corrupted, labels, 10, 50),),
        calibrated_on="corruptions",
        fake_share=0.5,
        vector_scaling={"synthetic": (0.8, -0.25), "swap": (1.25, -0.5)},
        at_thresholds=threshold_metrics(p_fake, labels, THRESHOLDS),
        at_thresholds_corrupted=threshold_metrics(p_corrupted, labels, THRESHOLDS),
        slices=tuple(slices),
        sources=tuple(sources),
        left_out=None,
        videos=None,
        end_to_end=measure_conditions(grid_scores[grid_scores["condition"] == "clean"], THRESHOLDS.flag),
        grid=grid,
        probes=(
            probe_recompression(p_fake, 1 - p_fake, labels, 0.005),
            probe_score_drift("horizontal flip", p_fake, p_fake + 0.001, 0.05),
            *probe_false_positive_rates(sources, 0.05),
        ),
        faithfulness=faithful_maps(),
        targets=tuple(compare_with_targets(sources, grid, {"swaps": "swap", "faces": "synthetic"}, 1234)),
        terms={"swaps": "for research only"},
        reencode=0,
        reproduction="dvc exp run -S 'train.epochs=40'",
    )
    measured = {"test_metrics": results.test.flat(), "test_images": 120, "thresholds": THRESHOLDS}
    return Case(contract.model_copy(update=measured), results, p_fake, labels, grid_scores)
