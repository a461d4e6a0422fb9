"""The model that answers -> why this one, on what it was trained, how it was judged, and the road it came by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepfake_detector.commands.options import Model

if TYPE_CHECKING:
    from deepfake_detector.scoring.choice import Choice


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
    from deepfake_detector.scoring.choice import choose

    choice = choose(model)
    if as_json:
        print(json.dumps(_facts(choice), indent=2))
        return
    from deepfake_detector.registry.origin import origin_words
    from deepfake_detector.scoring.portrait import describe

    print(f"{describe(choice)}\n\n{origin_words(_origin(choice))}")


def _facts(choice: Choice) -> dict[str, Any]:
    bundle = choice.bundle
    named = {"name": choice.name, "reason": choice.reason, "bundle": str(bundle.path), "sha256": bundle.sha256}
    return named | bundle.contract.model_dump(mode="json") | {"origin": _origin(choice)}


def _origin(choice: Choice) -> dict[str, Any]:
    """From the registry of the folder one stands in, else of the checkout that this code lies in."""
    from deepfake_detector.registry.origin import read_origin
    from deepfake_detector.scoring.choice import CHECKOUT

    roots = [root for root in (Path.cwd(), CHECKOUT) if (root / "mlflow.db").is_file()]
    return read_origin(choice.bundle, [*roots, Path.cwd()][0])
