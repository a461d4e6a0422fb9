"""A model's name, a bundle's folder or nothing -> the bundle to use, and the reason for it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from deepfake_detector.errors import BundleCorrupt, ModelNotFound
from deepfake_detector.io import read_json
from deepfake_detector.model.bundle import Bundle, read_bundle

# Of an editable install or a checkout: src/deepfake_detector/inference/model_selection.py -> the repository's root.
CHECKOUT_ROOT = Path(__file__).resolve().parents[3]
PACKAGE, SHIPPED = "deepfake_detector", "pretrained"  # a wheel holds the repository's pretrained/ in the package
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
    warning: str = ""  # a report names another model, which is missing; empty: none does


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
        root: folder to search; None for the working directory, then the checkout that contains this code, then the
            installed package, which brings pretrained/.

    Raises:
        ModelNotFound: none of these exists, or `named` does not.
        BundleCorrupt: its content differs from what was sealed, or the report names another bundle.
    """
    if named is not None and str(named) not in MODEL_NAMES:
        return SelectedModel(read_bundle(Path(named)), "named", "it was named")
    roots = [root] if root is not None else list(dict.fromkeys([Path.cwd(), CHECKOUT_ROOT]))
    # Only what is asked for is read: another bundle may be broken.
    champion, missing = _champion(roots) if named != "pretrained" else (None, "")
    pretrained = (
        _pretrained(roots if root is not None else [*roots, _package_folder()]) if named != "champion" else None
    )
    if named is not None:
        if (bundle := champion or pretrained) is None:
            raise _not_found(missing or f"no {named}", roots)
        return SelectedModel(bundle, str(named), "it was named")
    preference = preferred_model(_trained_on(champion), _trained_on(pretrained))
    bundle = champion if preference.name == "champion" else pretrained
    if bundle is None or preference.name is None:
        raise _not_found(missing or "no model: neither a champion nor pretrained/", roots)
    return SelectedModel(
        bundle, preference.name, preference.reason, missing and f"{missing}; {preference.name} is used"
    )


def read_pretrained(root: Path) -> Bundle | None:
    """The bundle that ships with the code; None where there is none."""
    return read_bundle(root / SHIPPED) if (root / SHIPPED / "contract.json").is_file() else None


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


def _package_folder() -> Path:
    return Path(str(resources.files(PACKAGE)))


def _champion(roots: list[Path]) -> tuple[Bundle | None, str]:
    """The champion's bundle; without it, what is missing of the one that a report names, in words."""
    missing = ""
    for root in roots:
        for report, key in (("package.json", ""), ("register.json", "champion")):
            content = _read_report(root / "reports" / report)
            pointer = content.get(key) if key else content
            if not isinstance(pointer, dict) or not (path := pointer.get("bundle")):
                continue
            if (root / path / "contract.json").is_file():
                return verify_digest(read_bundle(root / path), pointer.get("bundle_sha256")), ""
            missing = missing or f"no bundle at {root / path}, which reports/{report} names as the champion"
    return None, missing


def _not_found(what: str, roots: list[Path]) -> ModelNotFound:
    return ModelNotFound(
        f"{what} below {' or '.join(map(str, roots))}",
        "run `make repro` to train one, or name a bundle's folder with --model",
    )


def _read_report(path: Path) -> dict[str, Any]:
    return read_json(path, "run `dvc repro`, which writes it again, or delete it") if path.is_file() else {}
