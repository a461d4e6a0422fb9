"""reports/evaluate.json (nested) -> one number per name, in groups as MLflow's pages show them (before the slash)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PLAIN = ("test", "valid", "calibration")  # test_accuracy, test_accuracy_low, ...: the names of DVC's metrics too
GROUPS = {"per_source": "source"}  # sections under another name than their own: source/faces/accuracy
INTERVALS = ("low", "high")
_ILLEGAL = re.compile(r"[^0-9A-Za-z_.\- /]")


def numbers(judged: Mapping[str, Any]) -> dict[str, float]:
    """Flatten the report.

    The sections test, valid and calibration keep their intervals; of all others the values alone are told, or MLflow's
    comparison would be drowned in them.
    """
    flat: dict[str, float] = {}
    for section, content in judged.items():
        if not isinstance(content, Mapping):
            continue
        if section in PLAIN:
            flat |= {f"{section}_{name}": value for name, value in flatten(content).items()}
        else:
            flat |= _grouped(GROUPS.get(section, section), content)
    return {_ILLEGAL.sub("_", name): value for name, value in flat.items()}


def flatten(figures: Mapping[str, Any]) -> dict[str, float]:
    """Nested figures as one number per name: {"auc": {"value": v, "low": l}} gives auc and auc_low; no text."""
    flat: dict[str, float] = {}
    for name, figure in figures.items():
        if isinstance(figure, Mapping):
            flat |= {name if k == "value" else f"{name}_{k}": v for k, v in flatten(figure).items()}
        elif isinstance(figure, int | float) and not isinstance(figure, bool):
            flat[name] = float(figure)
    return flat


def _grouped(group: str, content: Mapping[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, figure in content.items():
        if isinstance(figure, Mapping) and "value" in figure:
            flat |= _grouped(group, {name: figure["value"]})
        elif isinstance(figure, Mapping):
            flat |= _grouped(f"{group}/{name}", figure)
        elif isinstance(figure, int | float) and not isinstance(figure, bool) and name not in INTERVALS:
            flat[f"{group}/{name}"] = float(figure)
    return flat
