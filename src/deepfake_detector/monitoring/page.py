"""A drift report -> one HTML page with its figures inside; it needs no network and runs no script."""

from __future__ import annotations

import base64
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from deepfake_detector.io import atomic_write, write_failure
from deepfake_detector.monitoring.drift import SHIFTS, DriftReport, ModelDrift
from deepfake_detector.monitoring.expectations import NAMES
from deepfake_detector.monitoring.figures import draw_figures
from deepfake_detector.monitoring.logged_answers import MAX_BROKEN_SHARE
from deepfake_detector.monitoring.measurements import ALPHA, MIN_PICTURES, RESAMPLES
from deepfake_detector.validation.results import status_of

TEMPLATE = "drift.html.j2"
SMALLEST_P = 1e-6  # below it the approximation has no digits that mean anything
WITHOUT_LABELS = (
    "whether pictures differ from those that the model was evaluated on: sizes, light, contrast, sharpness and scores",
    "the share of fakes, as far as fakes and real pictures of each class still score as they did",
    "how many pictures get an answer, and how many have no face that can be scored",
)
NOT_WITHOUT_LABELS = (
    "how many answers are right: a shift can leave the error rates as they are, and errors can grow without a shift",
    "whether a new generator is missed: fakes that score like real pictures look like fewer fakes",
    "who sends the pictures: many pictures of one sender count as many, and make chance look smaller than it is",
)


def write_page(report: DriftReport, path: Path) -> Path:
    """Write the page, atomically.

    Raises:
        BadInput, ToolFailed: it cannot be written.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"estimate": _estimate, "p_value": _p_value, "percent": lambda share: f"{share:.1%}"}
    template = environment.from_string((resources.files(__package__) / TEMPLATE).read_text(encoding="utf-8"))
    html = template.render(
        report=report,
        models=[_model_values(model) for model in report.models],
        with_labels=WITHOUT_LABELS,
        not_with_labels=NOT_WITHOUT_LABELS,
        constants={
            "alpha": ALPHA, "pictures": MIN_PICTURES, "resamples": RESAMPLES, "broken": MAX_BROKEN_SHARE,
        },
    )  # fmt: skip
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(html, encoding="utf-8")
    except OSError as error:
        raise write_failure(path, error) from error
    return path


def _model_values(model: ModelDrift) -> dict[str, Any]:
    """What the template shows of one model."""
    table = model.measurements.table
    drifted, unexplained = model.drifted_rows, model.unexplained_rows
    rows = [
        {
            **{str(name): value for name, value in row.items()},
            "name": NAMES[row["quantity"]],
            "state": "unexplained" if label in unexplained else "drifted" if label in drifted else "quiet",
        }
        for label, row in table.iterrows()
    ]
    images = {name: base64.b64encode(content).decode() for name, content in draw_figures(model).items()}
    return {
        "drift": model,
        "explanation": SHIFTS[model.verdict].format(reference=model.reference.name, least=MIN_PICTURES),
        "rows": rows,
        "daily": model.daily_shares().to_dict(orient="records"),
        "checks": [(status_of(check), check) for check in model.checks],
        "images": images,
    }


def _estimate(row: dict[str, Any], name: str) -> str:
    """`value [low, high]` of a row, or a dash where it was not measured."""
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return "–" if np.isnan(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _p_value(p_value: float) -> str:
    if np.isnan(p_value):
        return "–"
    return f"{p_value:.2g}" if p_value >= SMALLEST_P else f"< {SMALLEST_P:.0e}"
