"""A model's name, a bundle's folder or nothing -> the bundle to use, and the reason for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.model.bundle import Bundle, read_bundle

# Of an editable install or a checkout: src/deepfake_detector/inference/model_selection.py -> the repository's root.
CHECKOUT_ROOT = Path(__file__).resolve().parents[3]
MODEL_NAMES = ("champion", "pretrained")
PHOTOGRAPHS = "photographs"

ModelName = Literal["champion", "pretrained"]


@dataclass(frozen=True)
class ModelPreference:
    """The model to use by default; None if there is none."""

    name: ModelName | None
    reason: str  # one clause


@dataclass(frozen=True)
class SelectedModel:
    """The bundle to use."""

    bundle: Bundle
    name: str  # champion | pretrained | named (by its folder)
    reason: str


def preferred_model(champion: str | None, pretrained: str | None) -> ModelPreference:
    """Decide which model to use if the caller names none.

    Questions are about photographs and videos: a champion trained on the drawn sample is the last choice.

    Args:
        champion: `Contract.trained_on` of the registry's champion; None if there is no champion.
        pretrained: the same for pretrained/.
    """
    if champion == PHOTOGRAPHS:
        return ModelPreference("champion", "the registry's champion was trained on photographs")
    reason = "there is no champion" if champion is None else f"the champion was trained on the {champion} only"
    if pretrained is not None:
        return ModelPreference("pretrained", f"{reason}, so the model that ships with the code is used")
    if champion is not None:
        return ModelPreference("champion", f"{reason}, but there is no pretrained/ to use instead")
    return ModelPreference(None, "there is neither a champion nor pretrained/")


def select_model(named: str | Path | None = None, root: Path | None = None) -> SelectedModel:
    """Find the bundle to use.

    The champion is the packaged one (`bundle` in reports/package.json), else the registered one (`champion.bundle` in
    reports/register.json). MLflow is not queried: it takes seconds to import.

    Args:
        named: champion, pretrained or a bundle's folder; None for the default, see `preferred_model`.
        root: folder to search; None for the working directory, then the checkout that contains this code.

    Raises:
        ModelNotFound: none of these exists, or `named` does not.
        BundleCorrupt: its content differs from what was sealed, or the report names another bundle.
    """
    if named is not None and str(named) not in MODEL_NAMES:
        return SelectedModel(read_bundle(Path(named)), "named", "it was named")
    roots = [root] if root is not None else list(dict.fromkeys([Path.cwd(), CHECKOUT_ROOT]))
    # Only what is asked for is read: another bundle may be broken.
    champion = _champion(roots) if named != "pretrained" else None
    pretrained = _pretrained(roots) if named != "champion" else None
    if named is not None:
        if (bundle := champion or pretrained) is None:
            raise _not_found(f"no {named}", roots)
        return SelectedModel(bundle, str(named), "it was named")
    preference = preferred_model(_trained_on(champion), _trained_on(pretrained))
    bundle = champion if preference.name == "champion" else pretrained
    if bundle is None or preference.name is None:
        raise _not_found("no model: neither a champion nor pretrained/", roots)
    return SelectedModel(bundle, preference.name, preference.reason)


def read_pretrained(root: Path) -> Bundle | None:
    """The bundle that ships with the code; None where there is none."""
    return read_bundle(root / "pretrained") if (root / "pretrained" / "contract.json").is_file() else None


def verify_digest(bundle: Bundle, sha256: str | None) -> Bundle:
    """Return the bundle if it has the expected digest.

    Raises:
        BundleCorrupt: it has another digest.
    """
    if bundle.sha256 != sha256:
        raise BundleCorrupt(
            f"bundle {bundle.path} has SHA-256 {bundle.sha256}, the report names {sha256}",
            "run `python -m pipelines.register` and `python -m pipelines.package`, so that both agree again",
        )
    return bundle


def _trained_on(bundle: Bundle | None) -> str | None:
    return None if bundle is None else bundle.contract.trained_on


def _pretrained(roots: list[Path]) -> Bundle | None:
    return next((bundle for root in roots if (bundle := read_pretrained(root)) is not None), None)


def _champion(roots: list[Path]) -> Bundle | None:
    for root in roots:
        packaged = _read_report(root / "reports" / "package.json")
        registered = _read_report(root / "reports" / "register.json").get("champion") or {}
        for pointer in (packaged, registered):
            path, sha256 = pointer.get("bundle"), pointer.get("bundle_sha256")
            if path and (root / path / "contract.json").is_file():
                return verify_digest(read_bundle(root / path), sha256)
    return None


def _not_found(what: str, roots: list[Path]) -> ModelNotFound:
    return ModelNotFound(
        f"{what} below {' or '.join(map(str, roots))}",
        "run `make repro` to train one, or name a bundle's folder with --model",
    )


def _read_report(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
