"""What `evaluate` found out -> its figures, tables and the page that shows them all, in reports/evaluate/."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepfake_detector.evidence.answers import Shown, draw_answers, surest
from deepfake_detector.evidence.explanation_figure import draw_explanation
from deepfake_detector.evidence.figures import draw_all
from deepfake_detector.evidence.findings import Findings
from deepfake_detector.evidence.page import write_page
from deepfake_detector.evidence.robustness_figure import draw_robustness
from deepfake_detector.evidence.tables import write_findings, write_tables
from deepfake_detector.model.bundle import Bundle
from pipelines.judgement import Judgement
from pipelines.trials import Gone, facets


def exhibit(folder: Path, judgement: Judgement, found: Findings, gone: Gone, bundle: Bundle, bins: int) -> None:
    """Draw and write everything that people look at.

    Args:
        folder: made if it is not there; what an earlier evaluation left is removed.
        judgement: answers to crops.
        found: the figures.
        gone: answers to whole pictures.
        bundle: as it was sealed.
        bins: of the reliability table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()  # a network without a heatmap leaves fewer files
    test, thresholds = judgement.test, judgement.contract.thresholds
    p_fake, labels = judgement.p(test.logits), test.crops.labels
    draw_all(folder, p_fake, judgement.before(test.kinds), labels, judgement.history, found.test, thresholds, bins)
    draw_robustness(folder / "robustness.png", found.grid)
    if found.explanation:
        draw_explanation(folder / "explanation.png", found.explanation)
    _answers(folder, judgement, p_fake)
    write_tables(folder, test.crops.paths, labels, p_fake, bins, facets(test.crops, gone))
    write_findings(folder, found, gone.scored)
    write_page(folder, bundle, found)


def _answers(folder: Path, judgement: Judgement, p_fake: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    test = judgement.test
    shown = Shown(test.crops.crops, test.maps, p_fake, test.crops.labels, test.crops.sources)
    for name, right in (("right", True), ("wrong", False)):
        rows = surest(p_fake, test.crops.labels, right)
        draw_answers(folder / f"answers_{name}.png", shown, rows, f"The surest {name} answers")
