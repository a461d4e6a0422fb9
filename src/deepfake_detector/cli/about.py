"""`deepfake about`: the selected model -> its training data, test metrics and provenance, as lines or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepfake_detector.cli.options import Model
from deepfake_detector.inference.decision import DRAWN_SAMPLE_WARNING, KIND_NAMES

if TYPE_CHECKING:
    from deepfake_detector.inference.model_selection import SelectedModel
    from deepfake_detector.model.bundle import Contract

LABEL_WIDTH = 12
CODE_LICENCE = "MIT"
SHIPPED_LICENCE = "non-commercial use only, see LICENSE-WEIGHTS"


def about(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: name, reason, and the contract.")
    ] = False,
    model: Model = None,
) -> None:
    """Show which model is used and why, its training data, its test metrics, and its provenance.

    \b
    Examples:
      deepfake about                      the default model
      deepfake about --model champion     the registry's champion
      deepfake about --json               for programs
    """
    from deepfake_detector.inference.model_selection import select_model
    from deepfake_detector.registry.provenance import format_provenance

    selected = select_model(model)
    if as_json:
        print(json.dumps(_facts(selected), indent=2))
    else:
        print(f"{describe_model(selected)}\n\n{format_provenance(_provenance(selected))}")


def describe_model(selected: SelectedModel) -> str:
    """One line per fact, and a warning below them for a model of the drawn sample."""
    bundle, contract = selected.bundle, selected.bundle.contract
    thresholds, video = contract.thresholds, contract.video
    facts = {
        "model": f"{selected.name} ({bundle.path})",
        "reason": selected.reason,
        "trained on": f"{contract.trained_on}: {contract.train_images:,} faces of {_sources(contract.data_sha256)}",
        "network": f"{contract.network}, crops of {contract.side_px} px, faces from {contract.min_face_px} px",
        "classes": ", ".join(["a real face", *(KIND_NAMES.get(kind, kind) for kind in contract.kinds)]),
        "tested on": f"{contract.test_images:,} pictures: {_metrics(contract)}",
        "thresholds": f"real up to {thresholds.clear:.3f}, fake from {thresholds.flag:.3f}, "
        f"strict {thresholds.strict:.3f}",
        "videos": f"real up to {video.thresholds.clear:.3f}, fake from {video.thresholds.flag:.3f} with one face, "
        + (f"fitted on {video.videos:,} simulated videos" if video.videos else "not calibrated: mean of the frames"),
        "answers": _coverage(contract),
        "sha256": bundle.sha256,
        "licence": f"code: {CODE_LICENCE}; weights: {weights_licence(selected.name)}",
    }
    lines = [f"{label:{LABEL_WIDTH}}{value}" for label, value in facts.items()]
    if contract.trained_on == "drawn sample":
        lines.append(f"\nWarning: {DRAWN_SAMPLE_WARNING}.")
    return "\n".join(lines)


def weights_licence(name: str) -> str:
    """The terms of the weights of a model, by the name of `SelectedModel`."""
    return SHIPPED_LICENCE if name == "pretrained" else "as the terms of their training data allow, see its card.md"


def _coverage(contract: Contract) -> str:
    """How many files are decided, and how many of these rightly, per medium."""
    parts = []
    for medium, each in contract.coverage.items():
        if each.all.files:
            rightly = "" if each.all.right is None else f", {each.all.right:.0%} of these rightly"
            parts.append(f"of {medium}s {each.all.decided:.0%} are decided{rightly}")
    return "; ".join(parts) or "not measured how many files are decided"


def _sources(digests: Mapping[str, str]) -> str:
    return ", ".join(f"{name} (sha256 {digest[:12]})" for name, digest in sorted(digests.items())) or "unnamed sources"


def _metrics(contract: Contract) -> str:
    """Each metric, with its 95 % interval if it has one."""
    values = contract.test_metrics
    bounds = {f"{name}{end}" for name in values for end in ("_low", "_high")}
    names = [name for name in values if name not in bounds and name != "images"]
    return ", ".join(_metric(name, values) for name in names) or "no metrics"


def _metric(name: str, values: Mapping[str, float]) -> str:
    text = f"{name.replace('_', ' ')} {values[name]:.3f}"
    low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
    return text if low is None or high is None else f"{text} [{low:.3f}, {high:.3f}]"


def _facts(selected: SelectedModel) -> dict[str, Any]:
    bundle = selected.bundle
    facts = {"name": selected.name, "reason": selected.reason, "bundle": str(bundle.path), "sha256": bundle.sha256}
    licence = {"code": CODE_LICENCE, "weights": weights_licence(selected.name)}
    return facts | bundle.contract.model_dump(mode="json") | {"licence": licence, "origin": _provenance(selected)}


def _provenance(selected: SelectedModel) -> dict[str, Any]:
    """From the registry of the working directory, else of the checkout that contains this code."""
    from deepfake_detector.inference.model_selection import CHECKOUT_ROOT
    from deepfake_detector.paths import Workspace
    from deepfake_detector.registry.provenance import read_provenance

    stores = [Workspace(root).store_root for root in (Path.cwd(), CHECKOUT_ROOT)]
    found = [store for store in stores if (store / "mlflow.db").is_file()]
    return read_provenance(selected.bundle, [*found, *stores][0])
