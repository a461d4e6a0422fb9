"""The model that was chosen -> lines for people: why it, on what it was trained, how it was judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepfake_detector.cli.options import Model
from deepfake_detector.inference.decision import DRAWN_WARNING, WORDS
from deepfake_detector.inference.model_selection import Choice
from deepfake_detector.model.bundle import Contract

if TYPE_CHECKING:
    from deepfake_detector.inference.model_selection import Choice

WIDTH = 12


def describe(choice: Choice) -> str:
    """A line per fact, and at the end the warning that a model of drawings needs."""
    bundle, contract = choice.bundle, choice.bundle.contract
    marks = contract.thresholds
    lines = {
        "answers": f"{choice.name} ({bundle.path})",
        "why": choice.reason,
        "trained on": f"{contract.trained_on}: {contract.train_images:,} faces of {_sources(contract.data_sha256)}",
        "network": f"{contract.network}, crops of {contract.side_px} px, faces from {contract.min_face_px} px",
        "tells apart": " and ".join(["real faces", *(WORDS.get(kind, kind) for kind in contract.kinds)]),
        "judged on": f"{contract.test_images:,} test pictures: {_figures(contract)}",
        "marks": f"real up to {marks.clear:.3f}, fake from {marks.flag:.3f}, strict {marks.strict:.3f}",
        "run": contract.run_id,
        "sha256": bundle.sha256,
    }
    said = [f"{name:{WIDTH}}{value}" for name, value in lines.items()]
    return "\n".join([*said, *([f"\nMind: {DRAWN_WARNING}."] if contract.trained_on == "drawn sample" else [])])


def _sources(digests: Mapping[str, str]) -> str:
    return ", ".join(f"{name} (sha256 {digest[:12]})" for name, digest in sorted(digests.items())) or "unnamed sources"


def _figures(contract: Contract) -> str:
    """Each figure with its 95 % interval, if it has one."""
    found = contract.test_metrics
    told = {name for name in found for end in ("_low", "_high") if name.endswith(end) and name[: -len(end)] in found}
    told |= {"images"}  # before the figures
    return ", ".join(_figure(name, found) for name in found if name not in told) or "nothing is known"


def _figure(name: str, found: Mapping[str, float]) -> str:
    value = f"{name.replace('_', ' ')} {found[name]:.3f}"
    low, high = found.get(f"{name}_low"), found.get(f"{name}_high")
    return value if low is None or high is None else f"{value} [{low:.3f}, {high:.3f}]"


def about(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: name, reason, and the contract.")
    ] = False,
    model: Model = None,
) -> None:
    """Say which model answers and why, on what it was trained, how it was judged, and where it came from.

    \b
    Examples:
      deepfake about                      the model that answers by default
      deepfake about --model champion     the registry's champion
      deepfake about --json               for programs
    """
    from deepfake_detector.inference.model_selection import choose

    choice = choose(model)
    if as_json:
        print(json.dumps(_facts(choice), indent=2))
        return
    from deepfake_detector.registry.provenance import origin_words

    pass

    print(f"{describe(choice)}\n\n{origin_words(_origin(choice))}")


def _facts(choice: Choice) -> dict[str, Any]:
    bundle = choice.bundle
    named = {"name": choice.name, "reason": choice.reason, "bundle": str(bundle.path), "sha256": bundle.sha256}
    return named | bundle.contract.model_dump(mode="json") | {"origin": _origin(choice)}


def _origin(choice: Choice) -> dict[str, Any]:
    """From the registry of the folder one stands in, else of the checkout that this code lies in."""
    from deepfake_detector.inference.model_selection import CHECKOUT
    from deepfake_detector.registry.provenance import read_origin

    roots = [root for root in (Path.cwd(), CHECKOUT) if (root / "mlflow.db").is_file()]
    return read_origin(choice.bundle, [*roots, Path.cwd()][0])
